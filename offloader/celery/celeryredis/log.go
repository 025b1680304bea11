package celeryredis

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// LogTo sets the destination of messages of the Redis client, such as the cause of a failed
// dial. The default is the standard error. The setting is global to the process and affects
// Redis clients of other packages too, so only the program itself should call it. printf must
// be safe for concurrent use.
func LogTo(printf func(format string, args ...any)) { redis.SetLogger(logger(printf)) }

type logger func(format string, args ...any)

// Printf implements the logger interface of the Redis client.
func (l logger) Printf(_ context.Context, format string, args ...any) { l(format, args...) }
