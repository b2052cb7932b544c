package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/wfctl/internal/client"
	"workflow.uniconnect/services/wfctl/internal/show"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// templates offers the ids of templates.
func (a *App) templates(ctx context.Context, _ string) []string {
	c, err := a.client()
	if err != nil {
		return nil
	}
	page, err := c.Catalog.ListTemplates(ctx, &workflowv1.ListTemplatesRequest{PageSize: maxOffers})
	if err != nil {
		return nil
	}
	var ids []string
	for _, t := range page.GetTemplates() {
		ids = append(ids, t.GetId())
	}
	return ids
}

func (a *App) getTemplates() *cobra.Command {
	return &cobra.Command{
		Use: "templates [ID]", Aliases: []string{"template"}, Short: "Workflows to begin with", Args: args(0, 1),
		Example:           "  wfctl get templates -o wide\n  wfctl get template survey-after-call -o yaml\n  wfctl export --template survey-after-call >survey.yaml",
		ValidArgsFunction: completeFirst(a.templates),
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			if len(names) > 0 {
				answer, err := s.api.Catalog.GetTemplate(cmd.Context(), &workflowv1.GetTemplateRequest{Id: names[0]})
				if err != nil {
					return err
				}
				return s.output(answer.GetTemplate(), func() *show.Columns { return s.Templates([]*workflowv1.Template{answer.GetTemplate()}) })
			}
			all, err := client.Pages(0, func(token string, size int32) ([]*workflowv1.Template, string, error) {
				page, err := s.api.Catalog.ListTemplates(cmd.Context(), &workflowv1.ListTemplatesRequest{PageToken: token, PageSize: size})
				return page.GetTemplates(), page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return s.output(&workflowv1.ListTemplatesResponse{Templates: all}, func() *show.Columns { return s.Templates(all) })
		},
	}
}

func (a *App) getEventTypes() *cobra.Command {
	return &cobra.Command{
		Use: "eventtypes [TYPE]", Aliases: []string{"eventtype", "events"}, Short: "Events that can start a workflow", Args: args(0, 1),
		Example:           "  wfctl get eventtypes\n  wfctl get eventtype call.ended -o yaml",
		ValidArgsFunction: completeFirst(a.eventTypeNames),
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			all, err := eventTypes(cmd.Context(), s.api)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				return s.output(&workflowv1.ListEventTypesResponse{EventTypes: all}, func() *show.Columns { return s.EventTypes(all) })
			}
			one, err := named(all, "event type", names[0])
			if err != nil {
				return err
			}
			return s.output(one, func() *show.Columns { return s.EventTypes([]*workflowv1.EventType{one}) })
		},
	}
}

func (a *App) getActionTypes() *cobra.Command {
	return &cobra.Command{
		Use: "actiontypes [TYPE]", Aliases: []string{"actiontype", "actions"}, Short: "What steps can do", Args: args(0, 1),
		Example: "  wfctl get actiontypes\n  wfctl get actiontype crm.add_note -o yaml",
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			all, err := client.Pages(0, func(token string, size int32) ([]*workflowv1.ActionType, string, error) {
				page, err := s.api.Executor.ListActionTypes(cmd.Context(), &workflowv1.ListActionTypesRequest{PageToken: token, PageSize: size})
				return page.GetActionTypes(), page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			if len(names) == 0 {
				return s.output(&workflowv1.ListActionTypesResponse{ActionTypes: all}, func() *show.Columns { return s.ActionTypes(all) })
			}
			one, err := named(all, "action type", names[0])
			if err != nil {
				return err
			}
			return s.output(one, func() *show.Columns { return s.ActionTypes([]*workflowv1.ActionType{one}) })
		},
	}
}

// named finds the one of a type among all, which no call does for us.
func named[T interface{ GetType() string }](all []T, what, name string) (T, error) {
	for _, t := range all {
		if t.GetType() == name {
			return t, nil
		}
	}
	var none T
	return none, fault.NotFound("", fmt.Sprintf("there is no %s %q", what, name))
}

func eventTypes(ctx context.Context, c *client.Client) ([]*workflowv1.EventType, error) {
	return client.Pages(0, func(token string, size int32) ([]*workflowv1.EventType, string, error) {
		page, err := c.Scheduler.ListEventTypes(ctx, &workflowv1.ListEventTypesRequest{PageToken: token, PageSize: size})
		return page.GetEventTypes(), page.GetNextPageToken(), err
	})
}

// eventTypeNames offers the names of event types.
func (a *App) eventTypeNames(ctx context.Context, _ string) []string {
	c, err := a.client()
	if err != nil {
		return nil
	}
	all, err := eventTypes(ctx, c)
	if err != nil {
		return nil
	}
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.GetType()
	}
	return names
}
