// Package integration tests package celery and its leaves against real servers:
// Redis, RabbitMQ, and workers of two versions of Celery. Its tests are built with
// the tag "integration" only, since they need those servers:
//
//	.ci/celery
//	go test -tags=integration ./offloader/celery/integration
package integration
