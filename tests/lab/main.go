// Command lab runs the outer half of a tailnet on loopback: a control server, a
// DERP relay with STUN, and the ingress of Funnel. The inner half, a real
// tailscaled, is started by the tests and signs in here.
//
//	lab serve --state DIR    runs the tailnet; prints one JSON line when ready
//	lab keep [--user UID:GID] -- COMMAND [ARGUMENT...]
//	                         runs a command that ends with whoever started it
//
// Both end when their standard input closes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"tailscale.com/envknob"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	if len(os.Args) < 2 {
		log.Fatal("say what to run: lab serve, or lab keep")
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2:])
	case "keep":
		err = keep(os.Args[2:])
	default:
		err = fmt.Errorf("there is no %q: use lab serve, or lab keep", os.Args[1])
	}
	var status exitStatus
	if errors.As(err, &status) {
		os.Exit(int(status))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// Addresses is the line printed when everything listens.
type Addresses struct {
	Control string         `json:"control"` // URL that a node signs in to
	Admin   string         `json:"admin"`   // URL of the endpoints in admin.go
	Domain  string         `json:"domain"`  // what the name of every node ends in
	Ingress map[int]string `json:"ingress"` // by public port, where the public side listens
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("lab serve", flag.ExitOnError)
	state := flags.String("state", "", "folder for the state of the ingress node")
	capabilities := flags.String("capabilities", "none", "what a new node may do: none, https or full")
	flags.Parse(arguments)
	if *state == "" {
		return errors.New("lab serve needs --state")
	}
	granted, err := parseCapabilities(*capabilities)
	if err != nil {
		return err
	}

	// Nothing of the lab leaves loopback.
	envknob.SetNoLogsNoSupport()
	envknob.Setenv("TS_DISABLE_PORTMAPPER", "true")
	envknob.Setenv("TS_PANIC_IF_HIT_MAIN_CONTROL", "true")

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()

	relays, err := startRelay()
	if err != nil {
		return fmt.Errorf("start the relay: %w", err)
	}
	control, err := startControl(relays, granted)
	if err != nil {
		return fmt.Errorf("start the control server: %w", err)
	}
	ingress, err := startIngress(ctx, *state, control)
	if err != nil {
		return fmt.Errorf("start the ingress: %w", err)
	}
	defer ingress.Close()
	control.RequireApproval()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for admin: %w", err)
	}
	go http.Serve(listener, newAdmin(control, ingress))

	err = json.NewEncoder(os.Stdout).Encode(Addresses{
		Control: control.URL(),
		Admin:   "http://" + listener.Addr().String(),
		Domain:  domain,
		Ingress: ingress.Addresses(),
	})
	if err != nil {
		return fmt.Errorf("print the addresses: %w", err)
	}
	<-ctx.Done()
	return nil
}
