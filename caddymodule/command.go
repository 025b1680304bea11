package caddymodule

import (
	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/cli"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/sidecar"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/usage"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/version"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "offload",
		Short: "Limits the work of a blocking service, and shows and controls its pools",
		Long: `
The commands of caddy-offload, which puts a bounded queue, deadlines and a circuit
breaker in front of a blocking service.

"run" starts a proxy in one line. The other commands show and control the pools of a
running server through its admin endpoint.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(sidecar.Command())
			cmd.AddCommand(cli.Commands()...)
			cmd.RunE, cmd.DisableFlagsInUseLine = usage.Unknown, true
			cmd.SetFlagErrorFunc(usage.FlagError)
			cmd.Version = version.Text()
		},
	})
}
