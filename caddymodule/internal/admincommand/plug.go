package admincommand

import "github.com/spf13/cobra"

// plugged are the commands of other plugins. It is written before main begins.
var plugged []func() *cobra.Command

// Plug adds a command of another plugin to "caddy offload": the core imports no such plugin.
// Call it from an init function.
func Plug(command func() *cobra.Command) { plugged = append(plugged, command) }

// Plugged returns the commands of other plugins.
func Plugged() []*cobra.Command {
	all := make([]*cobra.Command, len(plugged))
	for i, command := range plugged {
		all[i] = command()
	}
	return all
}
