// Command sandbox stands in for what a workflow reaches outside: a CRM and an HTTP sink. For development only.
package main

import (
	"context"
	"os"

	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/services/sandbox"
)

func main() {
	os.Exit(service.Main(service.Spec{
		Name: "sandbox",
		New: func(ctx context.Context, deps service.Deps) (service.Runner, error) {
			return sandbox.New(ctx, deps)
		},
		Migrate: sandbox.Migrate,
	}))
}
