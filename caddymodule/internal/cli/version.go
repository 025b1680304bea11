package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/usage"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/version"
)

// versionCommand asks no server.
func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Prints the versions of caddy-offload and of Caddy",
		Args: usage.Args(cobra.NoArgs), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version.Text())
			return err
		},
	}
}
