// Command workflow-catalog serves the catalog of workflows.
package main

import (
	"context"
	"os"

	"workflow.uniconnect/pkg/service"
	catalog "workflow.uniconnect/services/workflow-catalog"
)

func main() {
	os.Exit(service.Main(service.Spec{
		Name:      catalog.Name,
		GCPercent: 200,
		New: func(ctx context.Context, deps service.Deps) (service.Runner, error) {
			return catalog.New(ctx, catalog.Config{Deps: deps})
		},
		Migrate: catalog.Migrate,
	}))
}
