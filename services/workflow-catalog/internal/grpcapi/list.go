package grpcapi

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const (
	defaultPageSize = 50
	// maxWords bounds how many words of a title may be looked for at once.
	maxWords = 16
)

// The fields that workflows are filtered and sorted by.
const (
	fieldState      = "state"
	fieldTrigger    = "trigger_type"
	fieldEventType  = "event_type"
	fieldTitle      = "title"
	fieldCreateTime = "create_time"
	fieldUpdateTime = "update_time"
)

// eventTypeName is what every event type matches, and therefore no other text needs to be looked for.
var eventTypeName = regexp.MustCompile(`^[a-z0-9_.]{0,128}$`)

func workflowSchema() *listing.Schema {
	equality := []listing.Operator{listing.Equal, listing.NotEqual}
	return &listing.Schema{
		Fields: []listing.Field{
			{Name: fieldState, Operators: equality, Values: []string{"ACTIVE", "INACTIVE", "DELETING"}},
			{Name: fieldTrigger, Operators: equality, Values: []string{"event", "schedule", "manual"}},
			{Name: fieldEventType, Operators: equality},
			{Name: fieldTitle, Operators: []listing.Operator{listing.Has}},
		},
		Orders: []string{fieldCreateTime, fieldUpdateTime, fieldTitle},
	}
}

// ListWorkflows returns a page of the tenant's workflows.
func (s *Catalog) ListWorkflows(ctx context.Context, req *workflowv1.ListWorkflowsRequest) (*workflowv1.ListWorkflowsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	tenant := workflow.Tenant(caller.Tenant)
	query, scope, err := listQuery(tenant, req)
	if err != nil {
		return nil, err
	}
	page, err := s.catalog.List(ctx, tenant, query)
	if err != nil {
		return nil, err
	}
	resp := &workflowv1.ListWorkflowsResponse{}
	if resp.Workflows, err = s.listMessages(ctx, tenant, page.Workflows, query.Basic); err != nil {
		return nil, err
	}
	if page.Next != nil {
		resp.NextPageToken = scope.Token(positionBytes(query.Order, *page.Next))
	}
	return resp, nil
}

// listQuery reads a request.
func listQuery(tenant workflow.Tenant, req *workflowv1.ListWorkflowsRequest) (workflow.ListQuery, listing.Scope, error) {
	schema := workflowSchema()
	query := workflow.ListQuery{Limit: pageSize(req.GetPageSize()), Basic: req.GetView() == workflowv1.WorkflowView_BASIC}
	order, err := schema.Order(req.GetOrderBy(), listing.Order{Field: fieldCreateTime, Desc: true})
	if err != nil {
		return query, listing.Scope{}, err
	}
	switch query.Desc = order.Desc; order.Field {
	case fieldUpdateTime:
		query.Order = workflow.ByUpdateTime
	case fieldTitle:
		query.Order = workflow.ByTitle
	}
	if query.Filter, err = workflowFilter(schema, req.GetFilter()); err != nil {
		return query, listing.Scope{}, err
	}
	scope := listing.NewScope("workflows", string(tenant), req.GetFilter(), order.String())
	position, err := scope.Position(req.GetPageToken())
	if err == nil && position != nil {
		query.After, err = positionOf(query.Order, position)
	}
	return query, scope, err
}

func workflowFilter(schema *listing.Schema, text string) (workflow.Filter, error) {
	var f workflow.Filter
	terms, err := schema.Filter(text)
	if err != nil {
		return f, err
	}
	for _, term := range terms {
		equal := term.Operator == listing.Equal
		switch term.Field {
		case fieldState:
			state := workflow.State(workflowv1.Workflow_State_value[term.Value])
			f.States = narrow(f.States, []workflow.State{workflow.Inactive, workflow.Active, workflow.Deleting}, state, equal)
		case fieldTrigger:
			all := []workflow.TriggerType{workflow.NoTrigger, workflow.EventTrigger, workflow.ScheduleTrigger, workflow.ManualTrigger}
			f.TriggerTypes = narrow(f.TriggerTypes, all, triggerType(term.Value), equal)
		case fieldEventType:
			switch {
			case !eventTypeName.MatchString(term.Value):
				return f, schema.Refuse("event_type is a name like call.ended")
			case !equal:
				f.NotEventTypes = append(f.NotEventTypes, term.Value)
			case f.EventTypes == nil:
				f.EventTypes = []string{term.Value}
			default:
				f.EventTypes = slices.DeleteFunc(f.EventTypes, func(t string) bool { return t != term.Value })
			}
		case fieldTitle:
			words := workflow.Words(term.Value)
			if len(words) == 0 {
				return f, schema.Refuse("title is searched by words, which have letters or digits")
			}
			f.Words = append(f.Words, words...)
		}
	}
	if len(f.Words) > maxWords {
		return f, schema.Refuse(fmt.Sprintf("more than %d words of title", maxWords))
	}
	return f, nil
}

// narrow returns which values remain possible when one more must be there, or must not. Nil are all.
func narrow[T comparable](possible, all []T, value T, equal bool) []T {
	if possible == nil {
		possible = all
	}
	return slices.DeleteFunc(slices.Clone(possible), func(v T) bool { return (v == value) != equal })
}

func triggerType(name string) workflow.TriggerType {
	switch name {
	case "event":
		return workflow.EventTrigger
	case "schedule":
		return workflow.ScheduleTrigger
	case "manual":
		return workflow.ManualTrigger
	}
	return workflow.NoTrigger
}

// listMessages returns workflows as clients see them. Configurations that were decoded before are not read again.
func (s *Catalog) listMessages(ctx context.Context, tenant workflow.Tenant, workflows []workflow.Workflow, basic bool) ([]*workflowv1.Workflow, error) {
	configs := make([]*workflowv1.Workflow, len(workflows))
	var missing []*workflow.Workflow
	for i := range workflows {
		known, ok := s.documents.get(workflows[i].Config, basic)
		if configs[i] = known; !ok {
			missing = append(missing, &workflows[i])
		}
	}
	if err := s.catalog.Documents(ctx, tenant, missing, basic); err != nil {
		return nil, err
	}
	out := make([]*workflowv1.Workflow, 0, len(workflows))
	for i, w := range workflows {
		config := configs[i]
		if config == nil {
			if len(w.Config.Document) == 0 {
				continue // it was deleted while the page was read
			}
			var err error
			if config, err = s.documents.decode(w.Config, basic); err != nil {
				return nil, err
			}
		}
		msg := configOnly(config)
		describe(msg, w)
		out = append(out, msg)
	}
	return out, nil
}

// pageSize is how many rows a page has at most; the contract bounds what may be asked for.
func pageSize(asked int32) int {
	if asked == 0 {
		return defaultPageSize
	}
	return int(asked)
}
