// Command gateway serves REST and the page at /.
package main

import (
	"context"
	"os"

	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/services/gateway"
)

func main() {
	os.Exit(service.Main(service.Spec{
		Name:      "gateway",
		GCPercent: 400,
		New: func(ctx context.Context, deps service.Deps) (service.Runner, error) {
			return gateway.New(ctx, deps)
		},
	}))
}
