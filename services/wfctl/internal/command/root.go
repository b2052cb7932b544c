package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/wfctl/internal/client"
	"workflow.uniconnect/services/wfctl/internal/show"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const about = `wfctl manages workflows of the Uniconnect Workflow Manager from the command line.

Workflows are named by their id or their exact title. Documents, as "export" writes and "apply" reads them, are YAML or JSON.

Settings: --server or UC_SERVER names the gateway (default: the one of UC_HTTP_ADDR); UC_TOKEN, UC_TOKEN_FILE or --token-file the bearer token.
With the data directory of a system in development (--data-dir or UC_DATA_DIR, default .data) --user names who calls.

Exit codes: 0 well, 1 refused or different, 2 wrong usage, 3 the system is away, 130 interrupted.`

// Root returns the command line.
func (a *App) Root() *cobra.Command {
	root := &cobra.Command{
		Use: "wfctl", Short: "Manage workflows", Long: about, SilenceErrors: true, SilenceUsage: true,
		Args: noSuchCommand, RunE: help,
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{err.Error()} })
	flags := root.PersistentFlags()
	flags.StringVar(&a.flags.server, "server", "", "address of the gateway, for example https://workflow.example.com")
	flags.StringVar(&a.flags.tokenFile, "token-file", "", "file with the bearer token")
	flags.StringVar(&a.flags.user, "user", "", "development user who calls, for example "+defaultUser)
	flags.StringVar(&a.flags.dataDir, "data-dir", "", "data directory of a system in development")
	flags.StringVarP(&a.flags.output, "output", "o", string(show.Table), "how answers are written: "+strings.Join(show.Formats(), ", "))
	a.completeFlag(root, "output", func(context.Context, string) []string { return show.Formats() })
	a.completeFlag(root, "user", func(context.Context, string) []string { return users() })

	groups := []*cobra.Group{
		{ID: "read", Title: "Look:"}, {ID: "code", Title: "As code:"}, {ID: "change", Title: "Change:"}, {ID: "run", Title: "Run:"},
		{ID: "platform", Title: "Platform:"}, {ID: "other", Title: "Other:"},
	}
	root.AddGroup(groups...)
	for group, commands := range map[string][]*cobra.Command{
		"read":     {a.get(), a.describe(), a.executions(), a.logs(), a.watch()},
		"code":     {a.create(), a.apply(), a.diff(), a.validate(), a.export()},
		"change":   {a.activate(), a.deactivate(), a.backup(), a.reset(), a.restore(), a.duplicate(), a.remove()},
		"run":      {a.run(), a.publishEvent()},
		"platform": {a.tenant()},
		"other":    {a.issueToken(), a.version()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	completeTitles(root)
	return root
}

// help is what a command without a verb of its own does.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// noSuchCommand refuses what is no command.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if cmd.HasParent() {
		text = fmt.Sprintf("%s has no %q", cmd.Name(), args[0])
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	} else if cmd.HasParent() {
		var known []string
		for _, c := range cmd.Commands() {
			known = append(known, c.Name())
		}
		text += "; there are " + strings.Join(known, ", ")
	}
	return usage("%s", text)
}

// args wants a number of arguments that have names.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) < least || len(given) > most {
			return usage("usage: %s", cmd.UseLine())
		}
		return nil
	}
}

func (a *App) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "wfctl "+a.Version)
			return err
		},
	}
}

type completion func(ctx context.Context, typed string) []string

// completeFlag offers values of a flag.
func (a *App) completeFlag(cmd *cobra.Command, flag string, offer completion) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return offer(cmd.Context(), typed), cobra.ShellCompDirectiveNoFileComp
	}) // fails for a flag that does not exist, which the test of completion would show
}

// completeFirst offers values of the first argument.
func completeFirst(offer completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offer(cmd.Context(), typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeBackup offers titles and behind a title the backups of that workflow, after so many words of another kind.
func (a *App) completeBackup(before int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(given) == before+1 {
			return a.backups(cmd.Context(), given[before]), cobra.ShellCompDirectiveNoFileComp
		}
		return completeFirst(a.titles)(cmd, given[min(before, len(given)):], typed)
	}
}

// backups offers the backups of a workflow: their names, or the ids of those that have none.
func (a *App) backups(ctx context.Context, workflow string) []string {
	c, err := a.client()
	if err != nil {
		return nil
	}
	id, err := c.WorkflowID(ctx, workflow)
	if err != nil {
		return nil
	}
	all, err := c.Backups(ctx, id, maxOffers)
	if err != nil {
		return nil
	}
	var names []string
	for _, b := range all {
		name := b.GetName()
		if name == "" {
			name = b.GetId()
		}
		names = append(names, name)
	}
	return names
}

// maxOffers bounds what a completion shows.
const maxOffers = 200

// titles offers the titles of workflows. Where the system cannot be asked there is nothing to offer.
func (a *App) titles(ctx context.Context, typed string) []string {
	c, err := a.client()
	if err != nil {
		return nil
	}
	all, err := c.Workflows(ctx, maxOffers, &workflowv1.ListWorkflowsRequest{View: workflowv1.WorkflowView_BASIC, OrderBy: "title", Filter: client.TitleFilter(typed)})
	if err != nil {
		return nil
	}
	var titles []string
	for _, w := range all {
		if strings.HasPrefix(strings.ToLower(w.GetTitle()), strings.ToLower(typed)) {
			titles = append(titles, w.GetTitle())
		}
	}
	return titles
}

// What a process answers to its parent.
const (
	exitWell, exitRefused, exitUsage, exitAway = 0, 1, 2, 3
	// exitInterrupted is what shells answer for Ctrl-C.
	exitInterrupted = 130
)

// ExitCode returns what a process answers to its parent for an error.
func ExitCode(err error) int {
	var noDiff diffError
	switch kind := fault.KindOf(err); {
	case err == nil:
		return exitWell
	case isInterrupted(err):
		return exitInterrupted
	case isUsage(err):
		return exitUsage
	case kind == fault.KindUnavailable || kind == fault.KindDeadlineExceeded:
		return exitAway
	case errors.As(err, &noDiff):
		return exitUsage
	}
	return exitRefused
}
