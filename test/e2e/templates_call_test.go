package e2e

import (
	"testing"
	"time"
)

// templateCases has a case for each template, by its id.
func templateCases() map[string]func(*testing.T, *trial) {
	return map[string]func(*testing.T, *trial){
		"on-call-ended":                    onCallEnded,
		"survey-after-call":                surveyAfterCall,
		"missed-call-callback":             missedCallCallback,
		"vip-escalation":                   vipEscalation,
		"voicemail-follow-up":              voicemailFollowUp,
		"abandoned-call-alert":             abandonedCallAlert,
		"unreachable-after-three-attempts": unreachableAfterThreeAttempts,

		"on-disposition-submitted":   onDispositionSubmitted,
		"no-disposition-reminder":    noDispositionReminder,
		"do-not-call":                doNotCall,
		"callback-at-requested-time": callbackAtRequestedTime,

		"lead-round-robin":         leadRoundRobin,
		"hot-lead-alert":           hotLeadAlert,
		"welcome-new-contact":      welcomeNewContact,
		"new-ticket-reminder":      newTicketReminder,
		"urgent-ticket-to-support": urgentTicketToSupport,
		"long-break-notice":        longBreakNotice,
	}
}

func onCallEnded(t *testing.T, x *trial) {
	const at = "2026-01-02T03:04:05Z"
	x.start(t, "call.ended", object{"call_id": unique("call"), "result": "answered", "ended_at": at}) // nobody we know
	x.start(t, "call.ended", object{"lead_id": nil, "contact_id": "", "result": "answered"})
	x.start(t, "call.ended", object{"lead_id": "lead-1001", "result": "answered", "ended_at": at})
	x.start(t, "call.ended", object{"lead_id": "lead-1016", "result": "answered", "ended_at": at}) // its score is 80
	x.start(t, "call.ended", object{"lead_id": "lead-1002", "result": "missed", "ended_at": at})
	x.start(t, "call.ended", object{"lead_id": "", "contact_id": "contact-2001", "result": "answered"})
	x.start(t, "call.ended", object{"contact_id": "contact-2002", "result": "busy", "ended_at": at})
	x.start(t, "call.ended", object{"lead_id": "lead-1003", "ended_at": at})
	x.ended(t, 6)
	has(t, "answered", x.record(t, "leads", "lead-1001"), object{"status": "contacted", "last_call_time": at, "last_call_result": "answered"})
	has(t, "answered, hot", x.record(t, "leads", "lead-1016"), object{"status": "contacted", "last_call_time": at})
	has(t, "missed", x.record(t, "leads", "lead-1002"), object{"status": "callback", "last_call_time": at, "last_call_result": "missed"})
	contact := x.record(t, "contacts", "contact-2001")
	has(t, "answered, contact", contact, object{"status": "contacted"})
	x.within(t, "the time of a call without one", contact["last_call_time"], 0)
	has(t, "busy", x.record(t, "contacts", "contact-2002"), object{"status": nil, "last_call_time": at, "last_call_result": "busy"})
	has(t, "no result", x.record(t, "leads", "lead-1003"), object{"status": "new", "last_call_result": "unknown"})
	has(t, "message", x.message(t, "sales-team", object{"lead_id": "lead-1016"}), object{"text": "Hot lead reached: Lead 1016", "owner": "user-105"})
	if n := len(x.sink(t, "sales-team", nil)); n != 1 {
		t.Errorf("%d messages to the sales team, want 1: for the hot lead", n)
	}
}

func surveyAfterCall(t *testing.T, x *trial) {
	call, second := unique("call"), unique("call")
	x.start(t, "call.ended", object{"call_id": unique("call"), "lead_id": "lead-1004", "result": "missed"})
	x.start(t, "call.ended", object{"call_id": unique("call"), "lead_id": "lead-1004", "result": "answered", "direction": "internal"})
	x.start(t, "call.ended", object{"call_id": unique("call"), "result": "answered"})
	x.start(t, "call.ended", object{"call_id": call, "lead_id": "lead-1004", "result": "answered", "direction": "inbound"})
	x.start(t, "call.ended", object{"call_id": call, "lead_id": "lead-1004", "result": "answered", "direction": "inbound"}) // told twice
	x.start(t, "call.ended", object{"call_id": second, "contact_id": "contact-2004", "result": "answered"})
	x.start(t, "call.ended", object{"call_id": unique("call"), "lead_id": "lead-of-nobody", "result": "answered"})
	x.set(t, "contacts", "contact-2004", object{"do_not_call": true})
	x.waits(t, 3, 24*time.Hour)
	x.ended(t, 3)
	has(t, "survey", x.message(t, "survey", nil), object{
		"call_id": call, "record": "lead-1004", "name": "Lead 1004", "email": "lead-1004@example.com", "phone": "+12025550104",
	})
}

func missedCallCallback(t *testing.T, x *trial) {
	call := unique("call")
	x.start(t, "call.ended", object{"lead_id": "lead-1005", "result": "answered", "from_e164": "+12025550199"})
	x.start(t, "call.ended", object{"lead_id": "lead-1005", "result": "missed", "direction": "outbound", "from_e164": "+12025550199"})
	for range 3 { // an impatient caller
		x.start(t, "call.ended", object{
			"call_id": call, "lead_id": "lead-1005", "result": "missed", "direction": "inbound", "from_e164": "+12025550105", "queue": "sales",
		})
	}
	x.start(t, "call.ended", object{"result": "abandoned", "from_e164": "+12025550198", "agent_user_id": "user-108"})
	x.start(t, "call.ended", object{"result": "missed", "contact_id": "contact-of-nobody"})
	x.ended(t, 3)
	task := x.task(t, "lead-1005", "Call back +12025550105")
	has(t, "task", task, object{"owner": "user-104", "status": "open", "record_module": "leads", "phone": "+12025550105", "queue": "sales", "call_id": call})
	x.within(t, "due_time", task["due_time"], time.Hour)
	unknown := x.find(t, "tasks", object{"title": "Call back +12025550198"})
	if len(unknown) != 1 {
		t.Fatalf("%d tasks for an unknown caller, want 1", len(unknown))
	}
	has(t, "task for an unknown caller", unknown[0], object{"owner": "user-108", "record": nil, "record_module": nil})
	x.task(t, "contact-of-nobody", "Call back an unknown number")
}

func vipEscalation(t *testing.T, x *trial) {
	x.set(t, "leads", "lead-1006", object{"vip": true})
	x.set(t, "contacts", "contact-2006", object{"vip": "yes"})
	x.start(t, "call.ended", object{"lead_id": "lead-1006", "result": "answered"})
	x.start(t, "call.ended", object{"lead_id": "lead-1007", "result": "missed"}) // no VIP
	x.start(t, "call.ended", object{"lead_id": "lead-1006", "result": "abandoned", "from_e164": "+12025550106", "queue": "gold"})
	x.start(t, "call.ended", object{"contact_id": "contact-2006", "result": "voicemail"})
	x.ended(t, 3)
	task := x.task(t, "lead-1006", "VIP: call Lead 1006 back now")
	has(t, "task", task, object{"owner": "user-105", "priority": "urgent"})
	x.within(t, "due_time", task["due_time"], 15*time.Minute)
	message := x.message(t, "vip-escalation", object{"record": "lead-1006"})
	has(t, "message", message, object{"text": "VIP Lead 1006 reached nobody (abandoned)", "number": "+12025550106", "queue": "gold", "owner": "user-105"})
	x.message(t, "vip-escalation", object{"record": "contact-2006", "number": ""})
	if n := len(x.sink(t, "vip-escalation", nil)); n != 2 {
		t.Errorf("%d messages, want 2: one for each VIP", n)
	}
	if found := x.find(t, "tasks", object{"record": "lead-1007", "priority": "urgent"}); len(found) > 0 {
		t.Errorf("there are tasks for a lead that is no VIP: %v", found)
	}
}

func voicemailFollowUp(t *testing.T, x *trial) {
	call := unique("call")
	x.start(t, "call.ended", object{"lead_id": "lead-1008", "result": "answered"})
	x.start(t, "call.ended", object{
		"call_id": call, "lead_id": "lead-1008", "result": "voicemail", "from_e164": "+12025550108", "agent_user_id": "user-103",
		"recording_url": "https://recordings.example.com/8",
	})
	x.start(t, "call.ended", object{"call_id": call + "b", "result": "voicemail"})
	x.ended(t, 2)
	notes := x.find(t, "notes", object{"call_id": call})
	if len(notes) != 1 {
		t.Fatalf("%d notes, want 1", len(notes))
	}
	has(t, "note", notes[0], object{
		"record": "lead-1008", "kind": "voicemail", "text": "Voicemail from +12025550108. Recording: https://recordings.example.com/8",
	})
	task := x.task(t, "lead-1008", "Listen to the voicemail from +12025550108")
	has(t, "task", task, object{"owner": "user-103", "recording": "https://recordings.example.com/8"})
	x.within(t, "due_time", task["due_time"], 2*time.Hour)
	unknown := x.find(t, "tasks", object{"call_id": call + "b"})
	if len(unknown) != 1 || unknown[0]["title"] != "Listen to the voicemail from an unknown number" {
		t.Errorf("tasks for an unknown caller: %v", unknown)
	}
	if found := x.find(t, "notes", object{"call_id": call + "b"}); len(found) > 0 {
		t.Errorf("notes without a record: %v", found)
	}
}

func abandonedCallAlert(t *testing.T, x *trial) {
	call := unique("call")
	x.start(t, "call.ended", object{"call_id": call + "a", "result": "abandoned", "ring_ms": 3000})
	x.start(t, "call.ended", object{"call_id": call + "b", "result": "missed", "ring_ms": 60000})
	x.start(t, "call.ended", object{"call_id": call + "c", "result": "abandoned", "ring_ms": 42500, "queue": "sales", "from_e164": "+12025550188"})
	x.start(t, "call.ended", object{"call_id": call + "d", "result": "abandoned"})
	x.ended(t, 2)
	has(t, "message", x.message(t, "abandoned-call", object{"call_id": call + "c"}), object{
		"text": "+12025550188 gave up after 42 seconds (sales)", "queue": "sales", "number": "+12025550188",
	})
	has(t, "message", x.message(t, "abandoned-call", object{"call_id": call + "d"}), object{
		"text": "an unknown number gave up after a while (without a queue)",
	})
}

func unreachableAfterThreeAttempts(t *testing.T, x *trial) {
	attempt := func(result, direction string) {
		t.Helper()
		x.start(t, "call.ended", object{"lead_id": "lead-1009", "result": result, "direction": direction})
	}
	attempt("busy", "inbound")
	attempt("answered", "outbound")
	for n, result := range []string{"busy", "missed", "voicemail"} {
		attempt(result, "outbound")
		x.ended(t, n+1)
		status := "new"
		if n == 2 {
			status = "unreachable"
		}
		has(t, result, x.record(t, "leads", "lead-1009"), object{"call_attempts": float64(n + 1), "status": status})
	}
	again := x.find(t, "tasks", object{"record": "lead-1009", "title": "Try Lead 1009 again"})
	if len(again) != 2 {
		t.Fatalf("%d tasks to try again, want 2: after the first two attempts", len(again))
	}
	has(t, "task", again[0], object{"owner": "user-108"})
	x.within(t, "due_time", again[0]["due_time"], 24*time.Hour)
}
