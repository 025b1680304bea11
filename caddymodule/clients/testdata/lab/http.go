package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"

	"github.com/hashicorp/go-retryablehttp"
)

// transport returns a transport for one call. It uses HTTP/2 for https.
func transport() *http.Transport {
	return &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the certificate of the lab's proxy signs itself
		ForceAttemptHTTP2: true,
	}
}

func plain(c call) (seen, error) {
	req, err := http.NewRequest(c.Method, c.URL, bytes.NewReader(make([]byte, c.Bytes)))
	if err != nil {
		return seen{}, err
	}
	setFields(req, c)
	t := transport()
	defer t.CloseIdleConnections()
	return read((&http.Client{Transport: t}).Do(req))
}

// retryable has the library's own settings.
func retryable(c call) (seen, error) {
	req, err := retryablehttp.NewRequest(c.Method, c.URL, make([]byte, c.Bytes))
	if err != nil {
		return seen{}, err
	}
	setFields(req.Request, c)
	client := retryablehttp.NewClient()
	client.Logger = nil
	t := transport()
	defer t.CloseIdleConnections()
	client.HTTPClient.Transport = t
	return read(client.Do(req))
}

func setFields(req *http.Request, c call) {
	for name, value := range c.Fields {
		req.Header.Set(name, value)
	}
}

func read(res *http.Response, err error) (seen, error) {
	if err != nil {
		return seen{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return seen{Status: res.StatusCode, Fields: lower(res.Header), Body: string(body)}, err
}
