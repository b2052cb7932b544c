package security

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"workflow.uniconnect/test/stack"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// event is a message on the bus with CloudEvents headers.
func event(subject, id, body string, headers ...string) *nats.Msg {
	msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/security"}, "ce-type": {"call.ended"},
	}}
	for i := 0; i+1 < len(headers); i += 2 {
		msg.Header.Set(headers[i], headers[i+1])
	}
	return msg
}

// expectLetters publishes messages and holds that each becomes a dead letter with its reason, for its own tenant alone.
func (s *system) expectLetters(t *testing.T, reasons []string, messages ...*nats.Msg) {
	t.Helper()
	js := s.JetStream(t)
	for _, msg := range messages {
		if _, err := js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	letters := func(user string) map[string]int {
		found := make(map[string]int)
		for _, l := range must[*workflowv1.ListDeadLettersResponse](t, s, user, &workflowv1.ListDeadLettersRequest{PageSize: 200}).GetDeadLetters() {
			for _, msg := range messages {
				if string(l.GetBody()) == string(msg.Data) && l.GetMessage() != "" {
					found[l.GetReason()]++
				}
			}
		}
		return found
	}
	stack.Eventually(t, soon, func(context.Context) error {
		found := letters(owner)
		for _, reason := range reasons {
			if found[reason] == 0 {
				return fmt.Errorf("no dead letter for %s; there are %v", reason, found)
			}
		}
		return nil
	})
	if theirs := letters(foreign); len(theirs) > 0 {
		t.Errorf("another tenant sees %v", theirs)
	}
}

// tenantsOfEvents: the tenant is the subject's; a payload that names another is set aside, and no name is a pattern.
func (s *system) tenantsOfEvents(t *testing.T) {
	const subject = "uniconnect.events.acme.call.ended"
	s.expectLetters(t, []string{"EVENT_TENANT_MISMATCH"}, event(subject, rand.Text(), `{"tenant":"globex","mark":"`+rand.Text()+`"}`))
	// A name that is a pattern is a text like any other and no tenant's. With a dot in it, a.b is the tenant a, which nobody is.
	marks := make(map[string]string)
	for _, tenant := range []string{"*", ">", "a.b"} {
		marks[tenant] = rand.Text()
		if _, err := s.JetStream(t).PublishMsg(t.Context(), event("uniconnect.events."+tenant+".call.ended", rand.Text(), `{"mark":"`+marks[tenant]+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tenant := range []string{"*", ">"} {
		stack.Eventually(t, soon, func(ctx context.Context) error {
			var reason string
			err := s.db.QueryRow(ctx, `SELECT reason FROM scheduler.dead_letters WHERE position($1 IN convert_from(body, 'UTF8')) > 0`, marks[tenant]).Scan(&reason)
			if err == nil && reason != "EVENT_ATTRIBUTE" {
				err = fmt.Errorf("the dead letter's reason is %s", reason)
			}
			return err
		})
	}
	for _, user := range []string{owner, foreign} {
		for _, l := range must[*workflowv1.ListDeadLettersResponse](t, s, user, &workflowv1.ListDeadLettersRequest{PageSize: 200}).GetDeadLetters() {
			for tenant, mark := range marks {
				if strings.Contains(string(l.GetBody()), mark) {
					t.Errorf("%s sees the event of %s", user, tenant)
				}
			}
		}
	}
}

func (s *system) oddEvents(t *testing.T) {
	const subject = "uniconnect.events.acme.call.ended"
	mark := func() string { return `{"mark":"` + rand.Text() + `"}` }
	s.expectLetters(t, []string{"EVENT_ATTRIBUTE", "EVENT_TYPE_MISMATCH", "EVENT_MALFORMED"},
		event(subject, strings.Repeat("x", 10_000), mark()),
		event(subject, rand.Text(), mark(), "ce-time", "9999-99-99T00:00:00Z"),
		event(subject, rand.Text(), mark(), "ce-specversion", "0.3"),
		event(subject, rand.Text(), mark(), "ce-type", "call.started"),
		event(subject, rand.Text(), `{"mark":"`+rand.Text()),
	)
}
