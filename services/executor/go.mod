module workflow.uniconnect/services/executor

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/trace v1.47.0
	go.uber.org/goleak v1.3.0
	golang.org/x/net v0.61.0
	golang.org/x/text v0.43.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
	workflow.uniconnect/pkg v0.0.0
	workflow.uniconnect/proto v0.0.0
)

replace (
	workflow.uniconnect/pkg => ../../pkg
	workflow.uniconnect/proto => ../../proto
)
