// Package browser tests the status page in a real browser, under the build tag integration:
// headless Chromium, with axe-core for its accessibility. .ci/browser installs both.
package browser
