package browser_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// chromium is a headless browser that is spoken to in the DevTools protocol, over
// two pipes: one JSON text each way, ended by a NUL.
type chromium struct {
	t    *testing.T
	out  *os.File
	last int // number of the last call

	mu      sync.Mutex
	waiting map[int]chan message // guarded by mu
	events  []message            // guarded by mu
	loaded  chan struct{}
}

type message struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
	On     string          `json:"sessionId,omitempty"`
}

// startChromium starts the browser, and ends it with the test. It looks for
// nothing outside this machine.
func startChromium(t *testing.T, binary string) *chromium {
	t.Helper()
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "claimgate-browser-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its helpers too
	cmd.Cancel = end
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()  //nolint:errcheck // the browser has it
	theirOut.Close() //nolint:errcheck // the browser has it
	c := &chromium{t: t, out: ourOut, waiting: map[int]chan message{}, loaded: make(chan struct{}, 10)}
	var reading sync.WaitGroup
	reading.Go(func() { c.read(ourIn) })
	t.Cleanup(func() {
		ourOut.Close() //nolint:errcheck // it ends the browser
		_ = end()      // and if not, this does
		_ = cmd.Wait()
		reading.Wait()
		ourIn.Close() //nolint:errcheck // read to its end
		// Helpers that are just ending may still write there: what cannot be removed
		// yet is left to whoever cleans the folder for temporary files.
		_ = os.RemoveAll(profile)
	})
	return c
}

func (c *chromium) read(from *os.File) {
	in := bufio.NewReader(from)
	for {
		data, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(data[:len(data)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		if answer, ok := c.waiting[m.ID]; ok {
			answer <- m
			delete(c.waiting, m.ID)
		} else {
			c.events = append(c.events, m)
		}
		c.mu.Unlock()
		if m.Method == "Page.loadEventFired" {
			c.loaded <- struct{}{}
		}
	}
}

// call calls a method, of the session unless it is "", and reads the result into
// result unless that is nil.
func (c *chromium) call(session, method string, params map[string]any, result any) {
	c.t.Helper()
	answer := make(chan message, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = answer
	c.mu.Unlock()
	data, err := json.Marshal(params)
	if err != nil {
		c.t.Fatal(err)
	}
	data, err = json.Marshal(message{ID: id, Method: method, Params: data, On: session})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.out.Write(append(data, 0)); err != nil {
		c.t.Fatal(err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			c.t.Fatalf("%s: %s", method, m.Error)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				c.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-c.t.Context().Done():
		c.t.Fatalf("%s: the test is over", method)
	}
}

// open opens a page of the given width in a new tab and waits until it is loaded.
func (c *chromium) open(url string, width int, scheme string) (session string) {
	c.t.Helper()
	var target struct{ TargetID string }
	c.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	c.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	session = attached.SessionID
	for _, domain := range []string{"Page", "Network", "Log", "Runtime"} {
		c.call(session, domain+".enable", map[string]any{}, nil)
	}
	c.call(session, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	c.call(session, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	c.call(session, "Page.navigate", map[string]any{"url": url}, nil)
	select {
	case <-c.loaded:
	case <-c.t.Context().Done():
		c.t.Fatal("the page was not loaded")
	}
	return session
}

// evaluate evaluates an expression in the page and reads its value.
func (c *chromium) evaluate(session, expression string, value any) {
	c.t.Helper()
	var result struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	c.call(session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &result)
	if result.ExceptionDetails != nil {
		c.t.Fatalf("the expression failed: %s", result.ExceptionDetails)
	}
	if err := json.Unmarshal(result.Result.Value, value); err != nil {
		c.t.Fatalf("the expression gave %s: %v", result.Result.Value, err)
	}
}

// screenshot returns the whole page as PNG.
func (c *chromium) screenshot(session string) []byte {
	c.t.Helper()
	var shot struct{ Data []byte }
	c.call(session, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	return shot.Data
}

// requests returns what the browser has asked for, and complaints what it has
// said of the pages: errors, and whatever a page or its policy reports.
func (c *chromium) requests() (urls, complaints []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		switch e.Method {
		case "Network.requestWillBeSent":
			var p struct{ Request struct{ URL string } }
			if err := json.Unmarshal(e.Params, &p); err != nil {
				c.t.Fatal(err)
			}
			urls = append(urls, p.Request.URL)
		case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.loadingFailed":
			complaints = append(complaints, fmt.Sprintf("%s %s", e.Method, e.Params))
		}
	}
	return urls, complaints
}
