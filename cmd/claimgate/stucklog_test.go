package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A log that nobody reads holds up neither the checks nor the end: the pipe is
// full after a few hundred lines, and its reader never comes.
func TestAGateWhoseLogIsStuckAnswersAndEnds(t *testing.T) {
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "s"), filepath.Join(dir, "gate.yaml")
	if err := os.WriteFile(file, []byte("server: {listen: 'unix:"+socket+"', drainDelay: 0s}\nadmin: {listen: off}\n"+
		"log: {decisions: all}\npolicies: [{name: all, access: public}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = writer.Close() // ends the write that is stuck
		_ = reader.Close()
	})
	root := newRoot(streams{out: io.Discard, err: writer}, nil)
	root.SetArgs([]string{"serve", "--config", file})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()

	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test is over
	client := authv3.NewAuthorizationClient(conn)
	request := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "api.example", Path: "/"},
	}}}
	for range lineQueueSize {
		answer, err := client.Check(t.Context(), request, grpc.WaitForReady(true))
		if err != nil || answer.GetStatus().GetCode() != 0 {
			t.Fatalf("%v, %v", answer, err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the gate ended with %v", err)
	}
}
