using System.Buffers.Binary;
using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Transport.ZeroMq;
using Xunit;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>
/// What comes over a connection that keeps to nothing, from who speaks libzmq's protocol: none of it reaches the node, and the peers that behave go on undisturbed. Without
/// keys: with them, such a connection ends before its first message (see <see cref="CurveZmqTransportTests"/>).
/// </summary>
public sealed class HostilePeerTests : IAsyncLifetime
{
    private readonly ZmqNodes _nodes = new(withKeys: false) { Options = static options => options with { MaxFrameBytes = 1 << 20 } };
    private readonly ZmqContext _context = new();
    private ZmqSocket? _socket;

    public async Task InitializeAsync()
    {
        await _nodes.StartAsync([1, 2]);
        _socket = _context.Open(Zmq.Dealer);
        _socket.Connect($"tcp://127.0.0.1:{_nodes.Port(1)}");
    }

    public async Task DisposeAsync()
    {
        _socket?.Dispose();
        _context.Dispose();
        await _nodes.DisposeAsync();
    }

    [Fact]
    public async Task NothingIsHeardBeforeAHello()
    {
        Send(Sealed(MessageKind.Frame, [1, 2, 3]));
        Send(Sealed(MessageKind.Snapshot, new byte[32]));
        Send(Sealed(MessageKind.Welcome, new byte[16]));
        await DroppedAsync(3);
    }

    [Fact]
    public async Task BytesThatAreNoMessageAreDropped()
    {
        Random random = new(1);
        Send([]);
        Send([1]);
        Send(new byte[8]);
        for (int i = 0; i < 500; i++)
        {
            byte[] bytes = new byte[random.Next(100)];
            random.NextBytes(bytes);
            Send(bytes);
        }

        await DroppedAsync(503);
    }

    [Fact]
    public async Task HellosThatDoNotFitAreRefused()
    {
        Hello hello = new(2, 1, ZmqNodes.Cluster, 1, 7, Lane.Frames);
        Assert.Equal(Refusal.Stranger, await AnswerAsync(hello with { From = 9 }));
        Assert.Equal(Refusal.Addressee, await AnswerAsync(hello with { To = 3 }));
        Assert.Equal(Refusal.Cluster, await AnswerAsync(hello with { Cluster = Guid.Empty }));
        Send(Sealed(MessageKind.Frame, [1]));
        await DroppedAsync(4);
    }

    [Fact]
    public async Task AnotherVersionIsTold()
    {
        byte[] message = Encode(new Hello(2, 1, ZmqNodes.Cluster, 1, 7, Lane.Frames));
        message[1] = 2;
        Assert.Equal(Refusal.Version, await AnswerAsync(message));
    }

    [Fact]
    public async Task DamagedFramesOfAPeerAreDropped()
    {
        Assert.Equal(Refusal.None, await AnswerAsync(new Hello(2, 1, ZmqNodes.Cluster, 1, 7, Lane.Frames)));
        byte[] frame = Sealed(MessageKind.Frame, [1, 2, 3, 4, 5, 6, 7, 8]);
        for (int bit = 0; bit < frame.Length * 8; bit++)
        {
            byte[] damaged = [.. frame];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Send(damaged);
        }

        Send(frame);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], await _nodes.NextAsync(at: 1, from: 2));
        await DroppedAsync(frame.Length * 8);
    }

    [Fact]
    public async Task SnapshotsBelongToTheirOwnLane()
    {
        Assert.Equal(Refusal.None, await AnswerAsync(new Hello(2, 1, ZmqNodes.Cluster, 1, 7, Lane.Frames)));
        Send(Sealed(MessageKind.Snapshot, new SnapshotOffer(new byte[] { 1 }, []).Encode(1)));
        await DroppedAsync(1);
        Assert.Null(_nodes.Folder(1).Directory);
    }

    [Fact]
    public async Task MessagesInPartsAreDropped()
    {
        Assert.Equal(Refusal.None, await AnswerAsync(new Hello(2, 1, ZmqNodes.Cluster, 1, 7, Lane.Frames)));
        Assert.True(_socket!.TrySend(Sealed(MessageKind.Frame, [1]), more: true));
        Assert.True(_socket.TrySend([2], more: true));
        Assert.True(_socket.TrySend(Sealed(MessageKind.Frame, [3])));
        await DroppedAsync(1);
    }

    [Fact]
    public async Task AGiantMessageEndsItsConnectionAndTakesNoMemory()
    {
        Assert.Equal(Refusal.None, await AnswerAsync(new Hello(2, 1, ZmqNodes.Cluster, 1, 7, Lane.Frames)));
        // Larger than a frame and than an offer of files may be.
        Send(Sealed(MessageKind.Frame, new byte[16 << 20]));
        // libzmq connects again, and nobody knows the new connection.
        await ZmqTransportSuite.UntilAsync(() =>
        {
            _socket!.TrySend(Sealed(MessageKind.Frame, [1]));
            return _nodes.Zmq(1).StrayMessages > 0;
        });
        await StillWellAsync();
    }

    [Fact]
    public async Task APeersLaterConnectionTakesThePlaceOfItsFormer()
    {
        Assert.Equal(Refusal.None, await AnswerAsync(new Hello(2, 1, ZmqNodes.Cluster, 1, 7, Lane.Frames)));
        Send(Sealed(MessageKind.Frame, [4]));
        Assert.Equal([4], await _nodes.NextAsync(at: 1, from: 2));
        // The real node 2 is heard no more; told so, it says hello again, and the other is nobody.
        await ZmqTransportSuite.UntilAsync(() =>
        {
            _nodes.Transport(2).TrySend(1, [8]);
            return !_nodes.Recorder(1).IsSilent;
        });
        Assert.Equal([8], await _nodes.NextAsync(at: 1, from: 2));
        long stray = _nodes.Zmq(1).StrayMessages;
        Assert.True(stray > 0);
        Send(Sealed(MessageKind.Frame, [4]));
        await ZmqTransportSuite.UntilAsync(() => _nodes.Zmq(1).StrayMessages > stray);
    }

    private static byte[] Sealed(MessageKind kind, ReadOnlySpan<byte> payload)
    {
        byte[] message = new byte[TransportMessage.HeaderBytes + payload.Length];
        payload.CopyTo(message.AsSpan(TransportMessage.HeaderBytes));
        TransportMessage.Seal(message, kind);
        return message;
    }

    private static byte[] Encode(Hello hello)
    {
        byte[] message = new byte[Hello.MessageBytes];
        hello.Write(message);
        return message;
    }

    private void Send(byte[] message) => Assert.True(_socket!.TrySend(message));

    /// <summary>What the node answers to a hello: a refusal, or none.</summary>
    private Task<Refusal> AnswerAsync(Hello hello) => AnswerAsync(Encode(hello));

    private async Task<Refusal> AnswerAsync(byte[] message)
    {
        Send(message);
        byte[]? answer = null;
        await ZmqTransportSuite.UntilAsync(() => (answer = TryReceive()) is not null);
        Assert.Equal(MessageFault.None, TransportMessage.Open(answer, out MessageKind kind));
        Assert.True(HelloAnswer.TryRead(answer, kind, out HelloAnswer read));
        Assert.Equal(7UL, read.Greeting);
        return read.Refusal;
    }

    private unsafe byte[]? TryReceive()
    {
        ZmqMessage message;
        _ = Zmq.InitMessage(&message);
        byte[]? bytes = _socket!.TryReceive(&message) ? new ReadOnlySpan<byte>(Zmq.MessageData(&message), (int)Zmq.MessageBytes(&message)).ToArray() : null;
        _ = Zmq.CloseMessage(&message);
        return bytes;
    }

    private async Task DroppedAsync(long messages)
    {
        await ZmqTransportSuite.UntilAsync(() => _nodes.Zmq(1).StrayMessages == messages);
        Assert.True(_nodes.Recorder(1).IsSilent);
        await StillWellAsync();
    }

    private async Task StillWellAsync()
    {
        byte[] frame = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(frame, 42);
        await TransportSuite.SendAsync(_nodes, 1, 2, frame);
        Assert.Equal(frame, await _nodes.NextAsync(at: 2, from: 1));
    }
}
