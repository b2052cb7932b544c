package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func onDispositionSubmitted(t *testing.T, x *trial) {
	const at = "2027-01-02T09:30:00+01:00"
	call := unique("call")
	submit := func(suffix string, data object) {
		t.Helper()
		data["call_id"] = call + suffix
		x.start(t, "call.disposition_submitted", data)
	}
	submit("a", object{
		"code": "callback", "label": "Call back", "notes": "wants an offer", "callback_at": at, "lead_id": "lead-1010", "submitted_by": "user-103",
	})
	submit("b", object{"code": "callback", "contact_id": "contact-2010", "callback_at": ""})
	submit("c", object{"code": "not_interested", "lead_id": "lead-1011", "label": "", "notes": nil})
	submit("d", object{"code": "sale", "label": "Sold", "lead_id": "lead-1012", "submitted_by": "user-101"})
	submit("e", object{"code": "sale"})
	submit("f", object{"code": "not_interested"})
	submit("g", object{})
	x.ended(t, 7)

	note := func(suffix string) object {
		t.Helper()
		found := x.find(t, "notes", object{"call_id": call + suffix})
		if len(found) != 1 {
			t.Fatalf("%d notes of call %s, want 1", len(found), suffix)
		}
		return found[0]
	}
	has(t, "note", note("a"), object{
		"text": "Call back: wants an offer", "kind": "disposition", "code": "callback", "record": "lead-1010", "record_module": "leads", "author": "user-103",
	})
	has(t, "note without a label", note("c"), object{"text": "not_interested", "record": "lead-1011"})
	has(t, "note without anything", note("g"), object{"text": "Disposition without a code", "record": nil})
	task := x.task(t, "lead-1010", "Call back as agreed")
	has(t, "task", task, object{"due_time": at, "owner": "user-103", "call_id": call + "a"})
	task = x.task(t, "contact-2010", "Call back as agreed")
	has(t, "task without a time", task, object{"record_module": "contacts", "owner": nil})
	x.within(t, "due_time", task["due_time"], 4*time.Hour)
	has(t, "not interested", x.record(t, "leads", "lead-1011"), object{"status": "not_interested"})
	has(t, "sale", x.record(t, "leads", "lead-1012"), object{"status": "won"})
	has(t, "callback", x.record(t, "leads", "lead-1010"), object{"status": "new"})
	has(t, "message", x.message(t, "sales", object{"call_id": call + "d"}), object{"text": "Sale by user-101: Sold", "record": "lead-1012"})
	has(t, "message without a record", x.message(t, "sales", object{"call_id": call + "e"}), object{"text": "Sale by an agent: sale", "record": ""})
	if n := len(x.sink(t, "sales", nil)); n != 2 {
		t.Errorf("%d messages, want 2: one for each sale", n)
	}
}

func noDispositionReminder(t *testing.T, x *trial) {
	// The note that it looks for is the one that the other template writes.
	var other templateView
	if err := x.owner.Call(t.Context(), http.MethodGet, "/v1/templates/on-disposition-submitted", nil, &other); err != nil {
		t.Fatal(err)
	}
	logger := x.createTemplate(t, other)
	call := unique("call")
	ended := func(suffix string, data object) {
		t.Helper()
		data["call_id"] = call + suffix
		x.start(t, "call.ended", data)
	}
	ended("a", object{"result": "missed", "lead_id": "lead-1013", "agent_user_id": "user-102"})
	ended("b", object{"result": "answered", "lead_id": "lead-1013"}) // no agent
	ended("c", object{"result": "answered", "lead_id": "lead-1013", "agent_user_id": "user-102"})
	ended("d", object{"result": "answered", "lead_id": "lead-1013", "agent_user_id": "user-102"})
	ended("e", object{"result": "answered", "agent_user_id": "user-102"})
	x.start(t, "call.disposition_submitted", object{"call_id": call + "c", "code": "info", "lead_id": "lead-1013"})
	x.awaitEnd(t, logger.ID, 1)
	x.waits(t, 3, 15*time.Minute)
	x.ended(t, 3)

	task := x.task(t, "lead-1013", "Submit the disposition of your call")
	has(t, "task", task, object{"owner": "user-102", "call_id": call + "d", "record_module": "leads"})
	x.within(t, "due_time", task["due_time"], 30*time.Minute)
	if found := x.find(t, "tasks", object{"call_id": call + "e"}); len(found) != 1 || found[0]["record"] != nil {
		t.Errorf("tasks for a call without a record: %v, want 1", found)
	}
}

func doNotCall(t *testing.T, x *trial) {
	call := unique("call")
	x.start(t, "call.disposition_submitted", object{"code": "callback", "lead_id": "lead-1014"})
	x.start(t, "call.disposition_submitted", object{"code": "do_not_call"}) // nobody we know
	x.start(t, "call.disposition_submitted", object{
		"code": "do_not_call", "lead_id": "lead-1014", "call_id": call, "submitted_by": "user-101", "submitted_at": "2026-03-04T05:06:07Z",
	})
	x.start(t, "call.disposition_submitted", object{"code": "dnc", "contact_id": "contact-2014"})
	x.ended(t, 2)
	has(t, "lead", x.record(t, "leads", "lead-1014"), object{"status": "do_not_call", "do_not_call": true, "do_not_call_since": "2026-03-04T05:06:07Z"})
	contact := x.record(t, "contacts", "contact-2014")
	has(t, "contact", contact, object{"status": "do_not_call", "do_not_call": true})
	x.within(t, "do_not_call_since", contact["do_not_call_since"], 0)
	notes := x.find(t, "notes", object{"kind": "do_not_call", "record": "lead-1014"})
	if len(notes) != 1 {
		t.Fatalf("%d notes, want 1", len(notes))
	}
	has(t, "note", notes[0], object{"text": "Asked not to be called again (entered by user-101).", "call_id": call})
}

func callbackAtRequestedTime(t *testing.T, x *trial) {
	at := time.Now().Add(3 * time.Hour).Truncate(time.Second).UTC()
	text := at.In(time.FixedZone("", 3600)).Format(time.RFC3339)
	submit := func(data object) {
		t.Helper()
		data["code"] = "callback"
		x.start(t, "call.disposition_submitted", data)
	}
	submit(object{"lead_id": "lead-1015"}) // no time
	submit(object{"lead_id": "lead-1015", "callback_at": ""})
	submit(object{"lead_id": "lead-1015", "callback_at": text, "submitted_by": "user-106", "notes": "after lunch"})
	submit(object{"contact_id": "contact-2015", "callback_at": text})
	x.set(t, "contacts", "contact-2015", object{"status": "do_not_call"})
	x.waitUntil(t, 2, at.Equal)
	x.ended(t, 2)
	task := x.task(t, "lead-1015", "Call back now, as agreed")
	has(t, "task", task, object{"due_time": text, "owner": "user-106", "notes": "after lunch"})
	has(t, "message", x.message(t, "callback-due", object{"record": "lead-1015"}), object{"to": "user-106", "text": "A callback is due now. after lunch"})
	if found := x.find(t, "tasks", object{"record": "contact-2015"}); len(found) > 0 {
		t.Errorf("tasks for a contact that asked not to be called: %v", found)
	}

	const past = "2026-01-02T03:04:05Z"
	submit(object{"callback_at": past, "submitted_by": "user-107"})
	x.ended(t, 3)
	if found := x.find(t, "tasks", object{"due_time": past, "owner": "user-107"}); len(found) != 1 || found[0]["record"] != nil {
		t.Errorf("tasks for a time that has passed: %v, want 1 at once", found)
	}
}

func leadRoundRobin(t *testing.T, x *trial) {
	created := func(id string, record object) {
		t.Helper()
		x.start(t, "lead.created", object{"record_id": id, "record": record})
	}
	created("lead-1001", object{"name": "Lead 1001", "owner": "user-100"})
	leads := []string{"lead-1016", "lead-1017", "lead-1018", "lead-1019", "lead-1020"}
	var owners []string
	for i, id := range leads {
		record := object{"name": id}
		if i%2 == 1 {
			record["owner"] = nil
		}
		created(id, record)
		x.ended(t, i+1)
		owner, _ := x.record(t, "leads", id)["owner"].(string)
		owners = append(owners, owner)
		has(t, "message", x.message(t, "new-lead", object{"lead_id": id}), object{"to": owner, "text": "New lead for you: Lead " + id[len("lead-"):]})
	}
	if diff := cmp.Diff([]string{"user-100", "user-101", "user-102", "user-103", "user-100"}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

func hotLeadAlert(t *testing.T, x *trial) {
	updated := func(id string, score any, before object) {
		t.Helper()
		x.start(t, "lead.updated", object{
			"record_id": id, "record": object{"name": "Lead of " + id, "score": score, "owner": "user-104"}, "before": before,
		})
	}
	id := unique("lead")
	updated(id+"a", 95, object{"score": 85})
	updated(id+"b", 70, object{"score": 90})
	updated(id+"c", 90, object{"name": "Before"})
	updated(id+"d", 75, object{"score": 10})
	updated(id+"e", 80, object{"score": 79.5})
	updated(id+"f", 90, object{"score": nil})
	x.ended(t, 2)
	task := x.task(t, id+"e", "Hot lead: call Lead of "+id+"e today")
	has(t, "task", task, object{"owner": "user-104", "record_module": "leads"})
	x.within(t, "due_time", task["due_time"], 4*time.Hour)
	has(t, "message", x.message(t, "hot-lead", object{"lead_id": id + "e"}), object{
		"text": "Lead of " + id + "e is a hot lead now (score 80)", "owner": "user-104",
	})
	x.message(t, "hot-lead", object{"lead_id": id + "f"})
}

func welcomeNewContact(t *testing.T, x *trial) {
	x.start(t, "contact.created", object{"record_id": "contact-2016", "record": object{"name": "Nobody"}})
	x.start(t, "contact.created", object{"record_id": "contact-2016", "record": object{"email": ""}})
	x.start(t, "contact.created", object{"record_id": "contact-2017", "record": object{"name": "Contact 2017", "email": "contact-2017@example.com"}})
	x.start(t, "contact.created", object{"record_id": "contact-2018", "record": object{"email": "contact-2018@example.com"}})
	x.ended(t, 2)
	has(t, "message", x.message(t, "welcome", object{"to": "contact-2017@example.com"}), object{
		"subject": "Welcome", "text": "Hello Contact 2017, it is good to have you with us.",
	})
	has(t, "message", x.message(t, "welcome", object{"to": "contact-2018@example.com"}), object{"text": "Hello there, it is good to have you with us."})
	for _, id := range []string{"contact-2017", "contact-2018"} {
		if found := x.find(t, "notes", object{"record": id, "kind": "welcome"}); len(found) != 1 || found[0]["text"] != "Welcome message sent to "+id+"@example.com." {
			t.Errorf("notes of %s: %v", id, found)
		}
	}
}

func newTicketReminder(t *testing.T, x *trial) {
	x.set(t, "tickets", "ticket-4001", object{"status": "new"})
	x.set(t, "tickets", "ticket-4002", object{"status": "new"})
	x.start(t, "ticket.created", object{})
	for _, id := range []string{"ticket-4001", "ticket-4002", "ticket-of-nobody"} {
		x.start(t, "ticket.created", object{"record_id": id, "record": object{"status": "new"}})
	}
	x.set(t, "tickets", "ticket-4002", object{"status": "open"}) // somebody begins to work
	x.waits(t, 3, 4*time.Hour)
	x.ended(t, 3)
	task := x.task(t, "ticket-4001", "Ticket still new: Ticket 4001")
	has(t, "task", task, object{"owner": "user-100", "record_module": "tickets"})
	x.within(t, "due_time", task["due_time"], time.Hour)
	has(t, "message", x.message(t, "new-ticket", nil), object{"ticket_id": "ticket-4001", "text": "Nobody has begun to work on: Ticket 4001"})
	if found := x.find(t, "tasks", object{"record": "ticket-4002"}); len(found) > 0 {
		t.Errorf("tasks for a ticket that somebody works on: %v", found)
	}
}

func urgentTicketToSupport(t *testing.T, x *trial) {
	updated := func(id, priority string, before object) {
		t.Helper()
		x.start(t, "ticket.updated", object{"record_id": id, "record": object{"priority": priority}, "before": before})
	}
	updated("ticket-4003", "urgent", object{"status": "new"}) // urgent before
	updated("ticket-4003", "low", object{"priority": "normal"})
	// Of the support group, users 104 to 106, only user-104 has a ticket.
	var owners []string
	for i, id := range []string{"ticket-4003", "ticket-4004"} {
		updated(id, "urgent", object{"priority": "normal"})
		x.ended(t, i+1)
		owner, _ := x.record(t, "tickets", id)["owner"].(string)
		owners = append(owners, owner)
		has(t, "message", x.message(t, "urgent-ticket", object{"ticket_id": id}), object{"to": owner, "text": "Urgent: Ticket " + id[len("ticket-"):]})
	}
	slices.Sort(owners)
	if diff := cmp.Diff([]string{"user-105", "user-106"}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

func longBreakNotice(t *testing.T, x *trial) {
	x.set(t, "users", "user-107", object{"status": "On Break"})
	x.start(t, "user.status_changed", object{"user_id": "user-107", "from": "On Break", "to": "Active"})
	x.start(t, "user.status_changed", object{"to": "On Break"})
	x.start(t, "user.status_changed", object{"user_id": "user-107", "extension": "107", "from": "Active", "to": "On Break"})
	x.start(t, "user.status_changed", object{"user_id": "user-108", "from": "Active", "to": "On Break"}) // back in time
	x.waits(t, 2, 30*time.Minute)
	x.ended(t, 2)
	has(t, "message", x.message(t, "long-break", nil), object{"user_id": "user-107", "text": "User 107 has been on a break for 30 minutes"})
}
