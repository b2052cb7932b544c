package show

import (
	"strconv"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

// Tenants is the table of tenants.
func (p *Printer) Tenants(all []*accessv1.Tenant) *Columns {
	c := &Columns{
		Names: []string{"TENANT", "TITLE", "STATE", "ZONE", "AGE", "!REQUESTS/S", "!WORKFLOWS", "!STREAMS", "!CREATED"},
		Empty: "No tenants.",
	}
	for _, t := range all {
		quotas := t.GetSettings().GetQuotas()
		c.Add(t.GetTenant(), Cut(t.GetTitle(), maxCell), t.GetState().String(), t.GetSettings().GetTimeZone(), p.Age(t.GetCreateTime().AsTime()),
			strconv.Itoa(int(quotas.GetRequestsPerSecond())), strconv.Itoa(int(quotas.GetWorkflows())), strconv.Itoa(int(quotas.GetStreams())),
			Time(t.GetCreateTime()))
	}
	return c
}
