module workflow.uniconnect/test

go 1.26.0

require (
	workflow.uniconnect/pkg v0.0.0
	workflow.uniconnect/proto v0.0.0
)

replace (
	workflow.uniconnect/pkg => ../pkg
	workflow.uniconnect/proto => ../proto
)
