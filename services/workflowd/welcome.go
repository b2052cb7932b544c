package workflowd

import (
	"fmt"
	"strings"

	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/devusers"
)

// welcome tells a person in development where everything is and how to sign in.
func welcome(s config.Settings) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
The Workflow Manager is ready.

  Executions, REST   http://%s   (OpenAPI: /v1/openapi.json)
  Events             %s, subjects uniconnect.events.{tenant}.{type}
  gRPC               catalog %s, scheduler %s, executor %s
  Health, metrics    http://%s/readyz, /metrics
  Sandbox            http://%s/crm/leads, /sink/{name}
  Data               %s

`, s.HTTPAddr, natsAddr(s), s.CatalogAddr, s.SchedulerAddr, s.ExecutorAddr, s.AdminAddr, s.SandboxAddr, s.DataDir)
	if s.OIDCIssuer != "" {
		return b.String() + "Tokens are those of " + s.OIDCIssuer + ". Ctrl-C stops everything.\n\n"
	}
	b.WriteString("Sign in on the page as one of these users, or get a bearer token:\n\n  bin/workflowd token --user owner@acme.test\n\n")
	for _, u := range devusers.All() {
		fmt.Fprintf(&b, "  %-20s %s\n", u.Name, strings.Join(u.Roles, ", "))
	}
	return b.String() + "\nThe README has a tour. Ctrl-C stops everything.\n\n"
}

// natsAddr shows where the embedded server listens; the address of another one may hold a password.
func natsAddr(s config.Settings) string {
	if strings.HasSuffix(s.NATSURL.Reveal(), s.NATSAddr) {
		return "nats://" + s.NATSAddr
	}
	return "NATS as set by UC_NATS_URL"
}
