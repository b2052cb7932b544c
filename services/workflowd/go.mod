module workflow.uniconnect/services/workflowd

go 1.26.0

require (
	workflow.uniconnect/pkg v0.0.0
	workflow.uniconnect/proto v0.0.0
	workflow.uniconnect/services/executor v0.0.0
	workflow.uniconnect/services/gateway v0.0.0
	workflow.uniconnect/services/sandbox v0.0.0
	workflow.uniconnect/services/trigger-scheduler v0.0.0
	workflow.uniconnect/services/workflow-catalog v0.0.0
)

replace (
	workflow.uniconnect/pkg => ../../pkg
	workflow.uniconnect/proto => ../../proto
	workflow.uniconnect/services/executor => ../executor
	workflow.uniconnect/services/gateway => ../gateway
	workflow.uniconnect/services/sandbox => ../sandbox
	workflow.uniconnect/services/trigger-scheduler => ../trigger-scheduler
	workflow.uniconnect/services/workflow-catalog => ../workflow-catalog
)
