package jobcommand

import (
	"bufio"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/usage"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/storekey"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// folder returns the folder of the store: the first argument, or the usual one.
func folder(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return filepath.Join(caddy.AppDataDir(), "offload", "jobs")
}

// keyFlags are the flags for the keys of an encrypted store.
type keyFlags struct{ files, variables []string }

func (f *keyFlags) add(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringSliceVar(&f.files, "key-file", nil, "A file with a key of the store; may be repeated")
	cmd.Flags().StringSliceVar(&f.variables, "key-env", nil, "An environment variable with a key of the store; may be repeated")
	return cmd
}

// read reads the keys.
func (f *keyFlags) read() (keys []bolt.Key, err error) {
	for _, file := range f.files {
		key, err := storekey.Read(file, "")
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	for _, variable := range f.variables {
		key, err := storekey.Read("", variable)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func checkCommand() *cobra.Command {
	var flags keyFlags
	return flags.add(&cobra.Command{
		Use: "check [FOLDER]", Short: "Checks a store that no server uses", Args: usage.Args(cobra.MaximumNArgs(1)),
		Long: `
Reads the whole store in a folder, or in the folder that a configuration without "store"
uses, and lists what is damaged. It changes nothing. The exit code is 3 if the store is
damaged. End the server before: a store has one user at a time.`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := flags.read()
			if err != nil {
				return err
			}
			report, err := bolt.Check(folder(args), keys...)
			if err != nil {
				return fmt.Errorf("checking the store: %w", err)
			}
			return printReport(cmd, folder(args), &report)
		},
	})
}

func printReport(cmd *cobra.Command, folder string, r *bolt.Report) error {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %d jobs, %d bytes in the database\n", admincommand.Clean(folder), r.Jobs, r.Bytes)
	if r.Encrypted > 0 {
		fmt.Fprintf(out, "%d of them are encrypted, and were checked without their contents\n", r.Encrypted)
	}
	if r.Crashed {
		fmt.Fprintln(out, "the store was not closed: the next server goes on with what is stored")
	}
	for _, problem := range r.Problems {
		fmt.Fprintln(out, "damaged:", admincommand.Clean(problem))
	}
	if r.More > 0 {
		fmt.Fprintf(out, "damaged: %d further problems\n", r.More)
	}
	if len(r.Problems) > 0 {
		return usage.Exit(cmd, caddy.ExitCodeFailedQuit)
	}
	fmt.Fprintln(out, "the store is good")
	return nil
}

func exportCommand() *cobra.Command {
	var flags keyFlags
	return flags.add(&cobra.Command{
		Use: "export [FOLDER]", Short: "Writes the jobs of a store that no server uses as JSON", Args: usage.Args(cobra.MaximumNArgs(1)),
		Long: `
Writes the records of all jobs in a folder, or in the folder that a configuration without
"store" uses, one JSON object a line. Of a damaged store it writes all that it can read. The
records have the fields of the requests, which may hold secrets. Bodies and results of more
than 16 KiB are files in the folder "spool" of the store.`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := flags.read()
			if err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			err = bolt.Export(folder(args), out, keys...)
			if flushed := out.Flush(); err == nil {
				err = flushed
			}
			if err != nil {
				return fmt.Errorf("exporting the store: %w", err)
			}
			return nil
		},
	})
}
