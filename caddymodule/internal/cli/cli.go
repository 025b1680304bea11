// Package cli has the commands that show and control the pools of a running server. They
// only use the server's admin endpoint, as docs/openapi.yaml describes it.
package cli

import (
	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
)

// Commands returns the commands, to be added to "caddy offload".
func Commands() []*cobra.Command {
	var all []*cobra.Command
	for _, list := range [][]command{shows(), changes(), requests(), {topCommand(), uiCommand()}} {
		for _, c := range list {
			all = append(all, c.cobra())
		}
	}
	return append(append(all, admincommand.Plugged()...), versionCommand())
}
