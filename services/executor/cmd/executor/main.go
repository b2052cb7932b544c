// Command executor serves the execution of workflows.
package main

import (
	"context"
	"os"

	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/services/executor"
)

func main() {
	os.Exit(service.Main(service.Spec{
		Name: executor.Name,
		New: func(ctx context.Context, deps service.Deps) (service.Runner, error) {
			return executor.New(ctx, executor.Config{Deps: deps})
		},
		Migrate: executor.Migrate,
	}))
}
