package eventpb

import (
	"slices"

	eventv1 "workflow.uniconnect/proto/gen/go/uniconnect/event/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// known returns the known types.
func known() []kind { return slices.Concat(calls(), records(), users(), groups(), others()) }

func calls() []kind {
	segment := object{
		"call_id": "c-81273", "segment_id": "c-81273-2", "index": 1, "agent": "103", "action": "transfer", "started_at": "2026-11-23T09:57:10Z",
	}
	return []kind{
		{"call.started", &eventv1.CallStarted{}, "Call Started", "A call began: somebody dials in or is dialled.", object{
			"call_id": "c-81273", "direction": "inbound", "from": "+4930123456", "to": "+4930654321", "queue": "sales", "agent": "107",
		}},
		{"call.connection_ended", &eventv1.CallConnectionEnded{}, "Call Connection Ended", "One leg of a call ended; the call may go on.", object{
			"call_id": "c-81273", "leg_id": "c-81273-1", "cause": "transferred",
		}},
		{"call.ended", &eventv1.CallEnded{}, "Call Ended", "A call ended, whether it was answered or not.", object{
			"call_id": "c-81273", "pbx_id": "pbx-berlin", "provider_call_id": "00000186FD2A91F3_4711", "segment_count": 2,
			"direction": "inbound", "media": "voice", "from_e164": "+4930123456", "to_e164": "+4930654321", "did": "+4930654321",
			"queue": "sales", "agent_user_id": "user-107", "agent_extension": "107", "lead_id": "lead-1007",
			"started_at": "2026-11-23T09:55:00Z", "answered_at": "2026-11-23T09:55:08Z", "ended_at": "2026-11-23T10:00:00Z",
			"ring_ms": 8000, "talk_ms": 292000, "hold_ms": 0, "result": "answered", "end_reason": "hangup", "ended_by": "customer",
			"recording_url": "https://recordings.example/c-81273", "campaign_id": "autumn-2026",
		}},
		{"call.segment_started", &eventv1.CallSegment{}, "Call Segment Started", "A part of a call began: a queue, an agent, a transfer.", segment},
		{
			"call.segment_ended", &eventv1.CallSegment{}, "Call Segment Ended", "A part of a call ended.",
			with(segment, "ended_at", "2026-11-23T10:00:00Z"),
		},
		{
			"call.disposition_submitted", &eventv1.CallDispositionSubmitted{}, "Disposition Submitted",
			"An agent logged or edited the outcome of a call. It may come before Call Ended.", object{
				"disposition_id": "d-5521", "call_id": "c-81273", "code": "callback", "label": "Call back", "category": "follow-up",
				"notes": "Asks for an offer by e-mail first.", "callback_at": "2026-11-25T14:00:00+01:00", "lead_id": "lead-1007",
				"submitted_by": "user-107", "submitted_at": "2026-11-23T10:01:30Z", "wrapup_ms": 90000, "revision": 1, "auto": false,
			},
		},
	}
}

func records() []kind {
	var all []kind
	for _, m := range []struct {
		module, title string
		record        object
		before        object
	}{
		{"lead", "Lead", object{"phone": "+4930123456", "status": "contacted", "score": 72, "owner": "user-107"}, object{"status": "new"}},
		{"contact", "Contact", object{"phone": "+4930123456", "email": "contact@example.test", "vip": true}, object{"vip": false}},
		{"organization", "Organization", object{"name": "Example GmbH", "city": "Berlin", "employees": 120}, object{"employees": 95}},
		{"ticket", "Ticket", object{"subject": "Line is noisy", "status": "open", "priority": "high"}, object{"priority": "normal"}},
	} {
		example := object{"record_id": m.module + "-1007", "record": m.record}
		all = append(all,
			kind{event.Type(m.module + ".created"), &eventv1.RecordChanged{}, m.title + " Created", "The CRM has a new " + m.module + ".", example},
			kind{
				event.Type(m.module + ".updated"), &eventv1.RecordChanged{}, m.title + " Updated", "Fields of a " + m.module + " changed in the CRM.",
				with(example, "before", m.before),
			},
		)
	}
	return all
}

func users() []kind {
	user := object{"user_id": "user-107", "email": "agent@example.test", "name": "Agent 107", "role": "User"}
	return []kind{
		{"user.created", &eventv1.UserChanged{}, "Create User", "A user was added.", user},
		{"user.updated", &eventv1.UserChanged{}, "Update User", "Fields of a user changed.", with(user, "changed", []any{"role"})},
		{"user.deleted", &eventv1.UserChanged{}, "Delete User", "A user was removed.", user},
		{"user.status_changed", &eventv1.UserStatusChanged{}, "User Status Changed", "A user's presence in Uniconnect changed.", object{
			"user_id": "user-107", "extension": "107", "from": "Active", "to": "On Break", "origin": "user",
		}},
	}
}

func groups() []kind {
	group := object{"group_id": "group-sales", "name": "Sales", "active": true}
	membership := object{"group_id": "group-sales", "user_id": "user-107"}
	return []kind{
		{"group.created", &eventv1.GroupChanged{}, "Group Created", "A group was added.", group},
		{"group.updated", &eventv1.GroupChanged{}, "Group Updated", "Fields of a group changed.", with(group, "changed", []any{"name"})},
		{"group.deleted", &eventv1.GroupChanged{}, "Group Deleted", "A group was removed.", group},
		{"group.user_added", &eventv1.GroupMembership{}, "Add User to Group", "A user became a member of a group.", membership},
		{"group.user_removed", &eventv1.GroupMembership{}, "Remove User from Group", "A user is no longer a member of a group.", membership},
	}
}

func others() []kind {
	ended := object{
		"workflow_id": "0192f0c1-7a5e-7c3c-9a7e-3d8b0f7f1a11", "execution_id": "0193abcd-0000-7000-8000-000000000001", "outcome": "SUCCEEDED",
		"cause_chain": []any{"0193abcd-0000-7000-8000-000000000001"},
	}
	return []kind{
		{
			"telephony.status_changed", &eventv1.TelephonyStatusChanged{}, "Telephony Status Changed",
			"A user's status in the phone system (3CX) changed, at the phone or by Uniconnect.", object{
				"user_id": "user-107", "extension": "107", "from": "Available", "to": "Away", "custom_name": "Lunch", "message": "Back at 13:00",
				"queue_status": "LoggedOut", "origin": "pbx", "origin_id": "", "observed_at": "2026-11-23T12:00:00Z",
			},
		},
		{
			"workflow.completed", &eventv1.WorkflowEnded{}, "onWorkflowCompleted",
			"A run of a workflow succeeded. This release does not publish it.", ended,
		},
		{
			"workflow.failed", &eventv1.WorkflowEnded{}, "onWorkflowFailed",
			"A run of a workflow failed. This release does not publish it.", with(ended, "outcome", "FAILED"),
		},
	}
}

// with returns a copy of an example with one more field.
func with(example object, name string, v any) object {
	out := object{name: v}
	for key, value := range example {
		if key != name {
			out[key] = value
		}
	}
	return out
}
