package deps
import (
 _ "github.com/caddyserver/caddy/v2"
 _ "github.com/sony/gobreaker/v2"
 _ "github.com/caddyserver/xcaddy"
 _ "github.com/dunglas/httpsfv"
 _ "go.uber.org/zap"
 _ "github.com/dustin/go-humanize"
 _ "go.uber.org/goleak"
 _ "golang.org/x/sync/semaphore"
 _ "github.com/quic-go/quic-go/http3"
 _ "golang.org/x/net/http2"
 _ "github.com/spf13/cobra"
)
