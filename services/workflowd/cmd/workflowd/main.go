// Command workflowd is the whole Workflow Manager in one process.
package main

import (
	"context"
	"os"

	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/services/workflowd"
)

func main() {
	os.Exit(service.Main(service.Spec{
		Name: "workflowd",
		New: func(ctx context.Context, deps service.Deps) (service.Runner, error) {
			return workflowd.New(ctx, workflowd.Config{Deps: deps, Out: os.Stdout})
		},
		Migrate: workflowd.Migrate,
		Verbs:   map[string]service.Verb{"token": workflowd.Token},
	}))
}
