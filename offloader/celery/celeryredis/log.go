package celeryredis

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// LogTo passes on what the client of Redis has to say, such as why it could not
// dial, which it writes to the standard error otherwise. That is for all clients of
// the process, also those that others have opened: it is for a program to do, and
// nothing here does it. printf is called from any goroutine.
func LogTo(printf func(format string, args ...any)) { redis.SetLogger(logger(printf)) }

type logger func(format string, args ...any)

// Printf implements what the client wants of a logger.
func (l logger) Printf(_ context.Context, format string, args ...any) { l(format, args...) }
