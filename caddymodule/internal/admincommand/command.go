// Package admincommand has the parts of commands that use the admin endpoint of a running
// server: their flags, requests to the server, and tables. The core has such commands, and
// other plugins add more.
package admincommand

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/usage"
)

// Call is one run of a command.
type Call struct {
	Cmd    *cobra.Command
	Args   []string
	Server Server
	JSON   bool // print answers as JSON
	Out    io.Writer
}

// Command describes a command.
type Command struct {
	Use, Short, Long, Example string
	Args                      cobra.PositionalArgs
	// Complete lists what the first argument may be, for a shell; nil: it is not completed.
	Complete func(*Call) ([]string, error)
	Flags    func(*cobra.Command)
	Run      func(*Call) error
}

// Cobra returns the command, with flags for the server.
func (c Command) Cobra() *cobra.Command {
	s := new(Call)
	cmd := &cobra.Command{
		Use: c.Use, Short: c.Short, Long: c.Long, Example: c.Example, Args: usage.Args(c.Args),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Cmd, s.Args, s.Out = cmd, args, cmd.OutOrStdout()
			return c.Run(s)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.Server.address, "address", "", "The address of the server's admin endpoint")
	flags.StringVarP(&s.Server.config, "config", "c", "", "The configuration file with the address of the admin endpoint")
	flags.StringVarP(&s.Server.adapter, "adapter", "a", "", "The config adapter for the file of --config")
	flags.BoolVar(&s.JSON, "json", false, "Print the server's answer as JSON")
	if c.Flags != nil {
		c.Flags(cmd)
	}
	if c.Complete != nil {
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names, err := c.Complete(s)
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return cmd
}

// OrJSON prints the answer of a server as JSON.
func (s *Call) OrJSON(text []byte, err error) error {
	if err != nil {
		return err
	}
	return s.PrintJSON(text)
}

// PrintJSON prints an answer as indented JSON.
func (s *Call) PrintJSON(text []byte) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(text), "", "\t"); err != nil {
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	fmt.Fprintln(s.Out, indented.String())
	return nil
}
