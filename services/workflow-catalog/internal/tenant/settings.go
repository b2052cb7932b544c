package tenant

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones must be known on machines that have none
	"unicode/utf8"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Quotas are limits of a tenant; 0 is the default.
type Quotas struct{ RequestsPerSecond, Workflows, Streams int32 }

// Settings are what a tenant can have its own way.
type Settings struct {
	// TimeZone is an IANA zone.
	TimeZone string
	// Quotas are the platform's to set.
	Quotas Quotas
	// ExecutionRetention is how long executions are kept, in whole seconds.
	ExecutionRetention time.Duration
	// FailureWorkflow is started when an execution fails; empty for none.
	FailureWorkflow workflow.ID
	// StatusMap is status in Uniconnect to profile in 3CX.
	StatusMap map[string]string
	// RoleMap is values of the token's claim to titles of roles.
	RoleMap map[string]string
}

// DefaultRetention is how long executions are kept unless a tenant says otherwise.
const DefaultRetention = 90 * 24 * time.Hour

const (
	minRetention = 24 * time.Hour
	maxRetention = 3650 * 24 * time.Hour
	maxStatuses  = 50
	maxMappings  = 100
	// maxStatus and maxValue bound texts, in characters.
	maxStatus = 128
	maxValue  = 256
)

// Fingerprint identifies the settings.
func (s *Settings) Fingerprint() []byte {
	// Maps are written with their keys sorted.
	return fingerprint([]any{s.TimeZone, s.Quotas, s.ExecutionRetention, s.FailureWorkflow, orEmpty(s.StatusMap), orEmpty(s.RoleMap)})
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// ETag names the settings' present content.
func (s *Settings) ETag() string { return etagOf(s.Fingerprint()) }

// UpdateSettings changes the settings to what patch makes of them, if they still are what etag says unless it is empty. Who maps a value of
// tokens to a role gives the role to whoever has such a token, and must hold what it grants.
func (a *Administration) UpdateSettings(ctx context.Context, by Caller, etag string, patch func(Settings) (Settings, error)) (Settings, error) {
	done, err := administer(ctx, a, by, func(ctx context.Context, desk Desk, actor actor) (Settings, Trace, error) {
		before, err := desk.Settings(ctx)
		if err != nil {
			return Settings{}, Trace{}, err
		}
		if etag != "" && etag != before.ETag() {
			return Settings{}, Trace{}, fault.Aborted("ETAG_MISMATCH", "the settings changed since they were read").With("etag", before.ETag())
		}
		after, err := patch(before)
		if err != nil {
			return Settings{}, Trace{}, err
		}
		mapping, err := checkSettings(ctx, desk, before, &after, by)
		if err != nil {
			return Settings{}, Trace{}, err
		}
		if err := mayMap(ctx, desk, actor, before.RoleMap, mapping); err != nil {
			return Settings{}, Trace{}, err
		}
		if before.ETag() == after.ETag() {
			return before, Trace{}, nil
		}
		trace := Trace{Resource: "settings", Before: before.Fingerprint(), After: after.Fingerprint()}
		return after, trace, desk.SetSettings(ctx, after, mapping)
	})
	if errors.Is(err, workflow.ErrForgotten) {
		// A repeated request whose answer went with the failure workflow that it named.
		return a.Settings(ctx, by.Tenant)
	}
	return done, err
}

// checkSettings finds everything that is wrong with settings, and returns their role map by ids.
func checkSettings(ctx context.Context, desk Desk, before Settings, after *Settings, by Caller) (map[string]RoleID, error) {
	var found []fault.Violation
	add := func(field string, reason fault.Reason, text string) {
		found = append(found, fault.Violation{Field: field, Description: text, Reason: reason})
	}
	if !isZone(after.TimeZone) {
		add("timeZone", "TIME_ZONE", "must be the name of an IANA time zone, for example Europe/Berlin")
	}
	if after.Quotas != before.Quotas && !by.Platform {
		add("quotas", "", "are the platform's to set")
	}
	after.ExecutionRetention = after.ExecutionRetention.Truncate(time.Second)
	if after.ExecutionRetention < minRetention || after.ExecutionRetention > maxRetention {
		add("executionRetention", "", "must be 1 to 3650 days")
	}
	if after.FailureWorkflow != "" && after.FailureWorkflow != before.FailureWorkflow {
		exists, err := desk.HasWorkflow(ctx, after.FailureWorkflow)
		if err != nil {
			return nil, err
		}
		if !exists {
			add("failureWorkflowId", "UNKNOWN_WORKFLOW", "the workflow does not exist")
		}
	}
	if len(after.StatusMap) > maxStatuses {
		add("statusMap", "", fmt.Sprintf("must have at most %d entries", maxStatuses))
	}
	for _, status := range slices.Sorted(maps.Keys(after.StatusMap)) {
		if !isText(status, maxStatus) || !isText(after.StatusMap[status], maxStatus) {
			add(entry("statusMap", status), "", fmt.Sprintf("status and profile must be texts of 1 to %d characters", maxStatus))
		}
	}
	if len(after.RoleMap) > maxMappings {
		add("roleMap", "", fmt.Sprintf("must have at most %d entries", maxMappings))
	}
	roles, err := desk.Roles(ctx)
	if err != nil {
		return nil, err
	}
	mapping, titles := make(map[string]RoleID, len(after.RoleMap)), make(map[string]string, len(after.RoleMap))
	for _, value := range slices.Sorted(maps.Keys(after.RoleMap)) {
		role, ok := byTitle(roles, after.RoleMap[value])
		switch {
		case !isText(value, maxValue):
			add(entry("roleMap", value), "", fmt.Sprintf("the value must be a text of 1 to %d characters", maxValue))
		case !ok:
			add(entry("roleMap", value), "ROLE_NOT_FOUND", "the role does not exist")
		}
		mapping[value], titles[value] = role.ID, role.Title
	}
	after.RoleMap = titles
	return mapping, fault.Check(found...)
}

// mayMap holds that the actor may give the roles that values of tokens begin to stand for.
func mayMap(ctx context.Context, desk Desk, actor actor, before map[string]string, mapping map[string]RoleID) error {
	roles, err := desk.Roles(ctx)
	if err != nil {
		return err
	}
	for _, value := range slices.Sorted(maps.Keys(mapping)) {
		role, _ := byID(roles, mapping[value])
		if before[value] == role.Title {
			continue
		}
		if err := actor.mayGive(role); err != nil {
			return err
		}
	}
	return nil
}

// isZone reports whether a name is one of the IANA time zones.
func isZone(name string) bool {
	if name == "" || name == "Local" {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

func isText(text string, length int) bool {
	n := utf8.RuneCountInString(text)
	return n >= 1 && n <= length && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// maxNamed bounds what of a wrong key its violation repeats.
const maxNamed = 64

func entry(field, key string) string {
	if runes := []rune(key); len(runes) > maxNamed {
		key = string(runes[:maxNamed])
	}
	return fmt.Sprintf("%s[%q]", field, key)
}
