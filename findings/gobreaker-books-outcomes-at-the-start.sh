#!/usr/bin/env bash
# gobreaker's two-step breaker books an outcome in the part of its rolling window in which
# the call began, not in which it ended. Calls that hang for longer than the window are
# lost: twenty calls that all fail, a moment ago, leave no failure in the counts, and a
# rule that reads them does not trip. A window must be several times the longest call, or
# the outcome must be reported early.
#
# Seen with sony/gobreaker v2.4.0 in virtual time (testing/synctest):
#
#   20 calls that fail after  1s, window 10s: 20 failures in the counts
#   20 calls that fail after 11s, window 10s: 0 failures in the counts
#
# Needs Go 1.25 or later. Fails if the behaviour changes.
set -euo pipefail

version=v2.4.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >finding_test.go <<'GO'
package finding

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

func TestFinding(t *testing.T) {
	for _, call := range []time.Duration{time.Second, 11 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
				Interval: 10 * time.Second, BucketPeriod: time.Second,
				ReadyToTrip: func(gobreaker.Counts) bool { return false },
			})
			var ends []func(error)
			for range 20 {
				end, err := b.Allow()
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, end)
			}
			time.Sleep(call)
			for _, end := range ends {
				end(errors.New("failed"))
			}
			fmt.Printf("20 calls that fail after %3s, window 10s: %d failures in the counts\n", call, b.Counts().TotalFailures)
		})
	}
}
GO
go mod init finding >/dev/null 2>&1
go get "github.com/sony/gobreaker/v2@$version" >/dev/null 2>&1
output=$(go test -count=1 . -v | grep failures)
printf '%s\n' "$output"
diff <(printf '%s\n' "$output") - <<'EXPECTED'
20 calls that fail after  1s, window 10s: 20 failures in the counts
20 calls that fail after 11s, window 10s: 0 failures in the counts
EXPECTED
