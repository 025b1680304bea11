// Package integration tests package celery with its brokers and backends on real servers:
// Redis, RabbitMQ, and workers of several versions of Celery. The tests have the build tag
// "integration", since they need these servers:
//
//	.ci/celery
//	go test -tags=integration ./offloader/celery/integration
package integration
