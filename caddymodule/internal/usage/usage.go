// Package usage rejects command lines that are wrong: an unknown command or flag, or the
// wrong number of arguments. The error names the arguments in plain words. The exit
// code differs from that of a command that has failed, so that a script can distinguish them.
package usage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
)

// ExitCode is the exit code for a wrong command line.
const ExitCode = 2

// Fail prints an error and returns one that makes Caddy exit with this code.
func Fail(cmd *cobra.Command, code int, err error) error {
	fmt.Fprintln(cmd.ErrOrStderr(), "Error:", err)
	return Exit(cmd, code)
}

// Exit returns an error that makes Caddy exit with a code above 1, without a message.
func Exit(cmd *cobra.Command, code int) error {
	cmd.SilenceErrors = true
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, nil)
}

// Unknown runs for a command that has subcommands. It prints its help, or rejects a
// subcommand that does not exist.
func Unknown(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && args[0] == "help" {
		if asked, rest, err := cmd.Find(args[1:]); err == nil && len(rest) == 0 {
			return asked.Help()
		}
	}
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	hint := suggest.DidYouMean(": ", args[0], names)
	if hint == "" {
		hint = ": '" + cmd.CommandPath() + "' alone lists the commands"
	}
	return Fail(cmd, ExitCode, fmt.Errorf("unknown command '%s' of %s%s", args[0], cmd.Name(), hint))
}

// FlagError is the FlagErrorFunc of commands. For an unknown flag it adds the flag that was
// probably meant. If an unknown command comes before the flag, it returns the error about
// that.
func FlagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return Unknown(cmd, args)
	}
	if unknown := new(pflag.NotExistError); errors.As(err, &unknown) {
		err = fmt.Errorf("%w%s", err, suggest.DidYouMean("; ", "--"+unknown.GetSpecifiedName(), flagsOf(cmd)))
	}
	return Fail(cmd, ExitCode, err)
}

func flagsOf(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return names
}

// words maps the placeholders of arguments in the syntax of commands to words.
var words = map[string]string{
	"NAME":         "the name of a pool",
	"ID":           "the id of a request",
	"JOB":          "the id of a job",
	"FOLDER":       "the folder of a store",
	"KEY=VALUE...": "one setting or more, as in concurrency=16",
}

// Args returns a check of the number of arguments whose error describes the arguments in
// words. Optional arguments and choices are written as in "NAME [ID] a|b".
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		got := "none"
		if len(args) > 0 {
			got = "'" + strings.Join(args, "' '") + "'"
		}
		return Fail(cmd, ExitCode, fmt.Errorf("%s %s, got %s", cmd.Name(), wants(cmd.Use), got))
	}
}

// wants returns the arguments of a command in plain words, from a syntax such as "pool NAME".
func wants(use string) string {
	var needed, optional []string
	for _, field := range arguments(use) {
		inner, isOptional := strings.CutPrefix(field, "[")
		word := inWords(strings.TrimSuffix(inner, "]"))
		if isOptional {
			optional = append(optional, word)
		} else {
			needed = append(needed, word)
		}
	}
	switch {
	case len(needed) > 0:
		return "wants " + strings.Join(needed, " and ")
	case len(optional) > 0:
		return "takes at most " + strings.Join(optional, " and ")
	}
	return "takes no arguments"
}

// arguments returns the arguments in a syntax, without the name of the command and without
// flags.
func arguments(use string) []string {
	var all []string
	for _, field := range strings.Fields(use)[1:] {
		if strings.HasPrefix(field, "[-") || strings.HasPrefix(field, "-") {
			break // flags come last
		}
		all = append(all, field)
	}
	return all
}

func inWords(placeholder string) string {
	if word, ok := words[placeholder]; ok {
		return word
	}
	return "one of " + strings.ReplaceAll(placeholder, "|", ", ")
}

// Choice returns an error if an argument is not one of the choices.
func Choice(cmd *cobra.Command, what, value string, choices ...string) error {
	if slices.Contains(choices, value) {
		return nil
	}
	return Fail(cmd, ExitCode, fmt.Errorf("unknown %s '%s': want one of %s%s",
		what, value, strings.Join(choices, ", "), suggest.DidYouMean("; ", value, choices)))
}
