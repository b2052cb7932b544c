package record

import "fmt"

// Seeds are the records that a new sandbox begins with. The people in them are numbers, and their telephone numbers are from the range
// that is kept for fiction.
func Seeds() []Record {
	var all []Record
	add := func(tenant, module, id string, fields map[string]any) {
		all = append(all, Record{Key: Key{Tenant: tenant, Module: module, ID: id}, Fields: fields, Version: 1})
	}
	for i := range 20 {
		add("acme", "leads", fmt.Sprintf("lead-%d", 1001+i), lead("acme", i))
		add("acme", "contacts", fmt.Sprintf("contact-%d", 2001+i), map[string]any{
			"name": fmt.Sprintf("Contact %d", 2001+i), "phone": fmt.Sprintf("+120255501%02d", 21+i), "email": fmt.Sprintf("contact-%d@example.com", 2001+i),
			"organization": fmt.Sprintf("organization-%d", 3001+i%5), "owner": fmt.Sprintf("user-%d", 100+i%10),
		})
	}
	for i := range 5 {
		add("acme", "organizations", fmt.Sprintf("organization-%d", 3001+i), map[string]any{
			"name": fmt.Sprintf("Organization %d", 3001+i), "phone": fmt.Sprintf("+120255501%02d", 41+i), "owner": fmt.Sprintf("user-%d", 100+i),
		})
		add("acme", "tickets", fmt.Sprintf("ticket-%d", 4001+i), map[string]any{
			"subject": fmt.Sprintf("Ticket %d", 4001+i), "status": "open", "priority": "normal",
			"contact": fmt.Sprintf("contact-%d", 2001+i), "owner": fmt.Sprintf("user-%d", 100+i),
		})
	}
	add("acme", "tasks", "task-5001", map[string]any{
		"title": "Call back", "status": "open", "record_module": "leads", "record": "lead-1001", "owner": "user-100",
	})
	add("acme", "notes", "note-6001", map[string]any{
		"text": "Asked for an offer", "record_module": "leads", "record": "lead-1001", "owner": "user-100",
	})
	for extension := 100; extension < 110; extension++ {
		add("acme", "users", fmt.Sprintf("user-%d", extension), map[string]any{
			"name": fmt.Sprintf("User %d", extension), "extension": fmt.Sprint(extension), "email": fmt.Sprintf("user-%d@acme.test", extension),
			"status": "Active",
		})
	}
	add("acme", Groups, "sales", map[string]any{"name": "Sales", "users": []any{"user-100", "user-101", "user-102", "user-103"}})
	add("acme", Groups, "support", map[string]any{"name": "Support", "users": []any{"user-104", "user-105", "user-106"}})
	for i := range 3 {
		add("globex", "leads", fmt.Sprintf("lead-%d", 1001+i), lead("globex", i))
	}
	return all
}

func lead(tenant string, i int) map[string]any {
	phone := 1 + i
	if tenant != DefaultTenant {
		phone += 50
	}
	return map[string]any{
		"name": fmt.Sprintf("Lead %d", 1001+i), "phone": fmt.Sprintf("+120255501%02d", phone),
		"email": fmt.Sprintf("lead-%d@example.com", 1001+i), "status": "new",
		"score": float64(5 * (i + 1)), "owner": fmt.Sprintf("user-%d", 100+i%10),
	}
}
