package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/devusers"
)

func (a *App) issueToken() *cobra.Command {
	ttl := developmentTTL
	cmd := &cobra.Command{
		Use: "token", Short: "Print a bearer token of a development user", Args: args(0, 0),
		Long:    "Print a bearer token of a development user: --user says whose, --data-dir where the system that ran in development keeps its key.",
		Example: "  export UC_TOKEN=$(wfctl token --user builder@acme.test)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := a.settings()
			if err != nil {
				return err
			}
			name := a.flags.user
			if name == "" {
				name = defaultUser
			}
			user, ok := devusers.Find(name)
			if !ok {
				return usage("no development user %s", name)
			}
			issuer, err := auth.FindIssuer(settings.DataDir)
			if err != nil {
				return err
			}
			token, err := issuer.Issue(user.Principal(), ttl)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", developmentTTL, "how long the token is valid")
	return cmd
}
