package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tailscale.com/ipn/store/mem"
	"tailscale.com/tailcfg"
	"tailscale.com/tsnet"
	"tailscale.com/types/logger"
)

// publicSource is the address that every visitor seems to come from. It is in a
// range kept for documentation.
const publicSource = "203.0.113.9"

// publicPorts are the ports that Funnel can be on.
var publicPorts = []int{443, 8443, 10000}

// dialLimit is how long a visitor waits for the node. WireGuard tries a handshake
// that was lost again after five seconds, so less would turn visitors away from a
// node that only just heard of the ingress.
const dialLimit = 12 * time.Second

// Ingress is Funnel's public side: for each public port a listener, which finds
// the node by the server name of the TLS handshake and hands the connection to
// the node's peerAPI, still encrypted.
type Ingress struct {
	peer      *tsnet.Server
	control   *Control
	listeners map[int]net.Listener

	mu       sync.Mutex
	closed   bool                      // visitors are cut as soon as they connect
	visitors map[*net.TCPConn]struct{} // connections in progress
}

func startIngress(ctx context.Context, state string, control *Control) (*Ingress, error) {
	i := &Ingress{
		peer: &tsnet.Server{
			Dir:        filepath.Join(state, "ingress"),
			Hostname:   "ingress",
			ControlURL: control.URL(),
			Store:      new(mem.Store),
			Ephemeral:  true,
			Logf:       logger.Discard,
			UserLogf:   logger.Discard,
		},
		control:   control,
		listeners: make(map[int]net.Listener),
		visitors:  make(map[*net.TCPConn]struct{}),
	}
	if _, err := i.peer.Up(ctx); err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	for _, port := range publicPorts {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listen for port %d: %w", port, err)
		}
		i.listeners[port] = listener
		go i.accept(listener, port)
	}
	return i, nil
}

// Addresses returns where each public port is listened on.
func (i *Ingress) Addresses() map[int]string {
	addresses := make(map[int]string)
	for port, listener := range i.listeners {
		addresses[port] = listener.Addr().String()
	}
	return addresses
}

// SetClosed closes the ingress to new visitors, or opens it again.
func (i *Ingress) SetClosed(closed bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = closed
}

// Reset breaks off every connection in progress and returns how many there were.
func (i *Ingress) Reset() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	for visitor := range i.visitors {
		visitor.SetLinger(0)
		visitor.Close()
	}
	return len(i.visitors)
}

// Close signs the ingress node off.
func (i *Ingress) Close() error { return i.peer.Close() }

func (i *Ingress) accept(listener net.Listener, port int) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go i.serve(conn.(*net.TCPConn), port)
	}
}

func (i *Ingress) serve(visitor *net.TCPConn, port int) {
	defer visitor.Close()
	if !i.enter(visitor) {
		return
	}
	defer i.leave(visitor)
	if err := i.relay(visitor, port); err != nil {
		log.Printf("ingress: port %d: %v", port, err)
	}
}

func (i *Ingress) enter(visitor *net.TCPConn) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	i.visitors[visitor] = struct{}{}
	return true
}

func (i *Ingress) leave(visitor *net.TCPConn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.visitors, visitor)
}

// relay hands the visitor to the node that it asks for, until either ends.
func (i *Ingress) relay(visitor *net.TCPConn, port int) error {
	visitor.SetReadDeadline(time.Now().Add(dialLimit))
	host, hello, err := readServerName(visitor)
	if err != nil {
		return fmt.Errorf("read the server name: %w", err)
	}
	visitor.SetReadDeadline(time.Time{})

	node, peerAPI, err := i.find(host)
	if err != nil {
		return err
	}
	source := fmt.Sprintf("%s:%d", publicSource, visitor.RemoteAddr().(*net.TCPAddr).Port)
	peer, fromPeer, err := i.dial(netip.AddrPortFrom(node.Addresses[0].Addr(), peerAPI), source, fmt.Sprintf("%s:%d", host, port))
	if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	defer peer.Close()

	go func() {
		io.Copy(peer, io.MultiReader(bytes.NewReader(hello), visitor))
		if half, ok := peer.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}()
	io.Copy(visitor, fromPeer)
	return nil
}

// find returns the node with that host name and the port of its peerAPI. A node
// that just signed in gets a moment to tell the port.
func (i *Ingress) find(host string) (*tailcfg.Node, uint16, error) {
	name, _, _ := strings.Cut(host, ".")
	if host != name+"."+domain {
		return nil, 0, fmt.Errorf("%q is no name of this tailnet", host)
	}
	for started := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		node := i.control.Node(name)
		if node == nil {
			return nil, 0, fmt.Errorf("there is no node for %q", host)
		}
		if port, ok := peerAPIPort(node); ok {
			return node, port, nil
		}
		if time.Since(started) > dialLimit {
			return nil, 0, fmt.Errorf("%s has no peerAPI", host)
		}
	}
}

// dial asks a node's peerAPI for an ingress connection. What the node sends
// after its answer comes from the returned reader.
func (i *Ingress) dial(peerAPI netip.AddrPort, source, target string) (net.Conn, io.Reader, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	conn, err := i.peer.Dial(ctx, "tcp", peerAPI.String())
	if err != nil {
		return nil, nil, fmt.Errorf("dial the peerAPI: %w", err)
	}
	conn.SetReadDeadline(time.Now().Add(dialLimit))
	_, err = fmt.Fprintf(conn, "POST /v0/ingress HTTP/1.1\r\nHost: peer\r\nTailscale-Ingress-Src: %s\r\nTailscale-Ingress-Target: %s\r\n\r\n", source, target)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("read the peerAPI's answer: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		why, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		conn.Close()
		return nil, nil, fmt.Errorf("refused: %s: %s", response.Status, bytes.TrimSpace(why))
	}
	conn.SetReadDeadline(time.Time{})
	return conn, reader, nil
}

func peerAPIPort(node *tailcfg.Node) (uint16, bool) {
	for _, service := range node.Hostinfo.Services().All() {
		if service.Proto == tailcfg.PeerAPI4 {
			return service.Port, true
		}
	}
	return 0, false
}

// errHelloRead stops a handshake as soon as its first message was understood.
var errHelloRead = errors.New("client hello read")

// readServerName reads the first message of a TLS handshake and returns the
// server name in it, and the bytes read.
func readServerName(conn net.Conn) (name string, hello []byte, err error) {
	var read bytes.Buffer
	handshake := tls.Server(helloConn{conn, io.TeeReader(conn, &read)}, &tls.Config{
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			name = info.ServerName
			return nil, errHelloRead
		},
	})
	if err := handshake.Handshake(); !errors.Is(err, errHelloRead) {
		return "", nil, err
	}
	return name, read.Bytes(), nil
}

// helloConn reads through a reader of its own and never writes to the visitor.
type helloConn struct {
	net.Conn
	reader io.Reader
}

func (c helloConn) Read(p []byte) (int, error)  { return c.reader.Read(p) }
func (c helloConn) Write(p []byte) (int, error) { return len(p), nil }
