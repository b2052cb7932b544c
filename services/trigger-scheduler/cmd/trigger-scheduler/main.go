// Command trigger-scheduler starts workflows when events call for it.
package main

import (
	"context"
	"os"

	"workflow.uniconnect/pkg/service"
	scheduler "workflow.uniconnect/services/trigger-scheduler"
)

func main() {
	os.Exit(service.Main(service.Spec{
		Name: scheduler.Name,
		New: func(ctx context.Context, deps service.Deps) (service.Runner, error) {
			return scheduler.New(ctx, deps)
		},
		Migrate: scheduler.Migrate,
	}))
}
