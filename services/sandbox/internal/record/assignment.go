package record

import (
	"encoding/json"

	"workflow.uniconnect/pkg/fault"
)

// Strategy is how the owner of a record is chosen.
type Strategy uint8

// The strategies.
const (
	ToUser Strategy = iota + 1
	RoundRobin
	LeastLoaded
	ToGroup
)

// The modules that assignments read.
const (
	Users  = "users"
	Groups = "groups"
)

// Assignment gives a record an owner.
type Assignment struct {
	Key
	Strategy Strategy
	// Users are the ids to choose from. When there are none: the users of the group, without a group all users.
	Users []string
	// Group is the id of a group.
	Group string
	// RequestID makes repetition harmless.
	RequestID string
}

// Check finds what does not fit the strategy.
func (a Assignment) Check() error {
	var found []fault.Violation
	wrong := func(field, rule string) {
		found = append(found, fault.Violation{Field: field, Description: rule, Reason: fault.ReasonFieldRule})
	}
	switch a.Strategy {
	case ToUser:
		if len(a.Users) != 1 {
			wrong("users", "must name one user for the strategy USER")
		}
	case ToGroup:
		if a.Group == "" {
			wrong("group", "is required for the strategy GROUP")
		}
	case RoundRobin, LeastLoaded:
		if len(a.Users) > 0 && a.Group != "" {
			wrong("group", "must be empty when users are given")
		}
	}
	return fault.Check(found...)
}

// Pool names what the turn of a round robin belongs to: the users as they were listed, the group, or everybody. The members of a group
// may change; the turn goes on.
func (a Assignment) Pool() string {
	switch {
	case len(a.Users) > 0:
		text, _ := json.Marshal(a.Users) // a list of texts is always JSON
		return "users " + string(text)
	case a.Group != "":
		return "group " + a.Group
	default:
		return "all"
	}
}

// Members returns the ids of a group's users.
func Members(group Record) []string {
	list, _ := group.Fields["users"].([]any)
	var ids []string
	for _, one := range list {
		if id, ok := one.(string); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// ClosedStatuses are those of records that are no work any more; LeastLoaded does not count them.
func ClosedStatuses() []string {
	return []string{"closed", "done", "completed", "resolved", "cancelled", "won", "lost", "converted", "not_interested", "do_not_call"}
}
