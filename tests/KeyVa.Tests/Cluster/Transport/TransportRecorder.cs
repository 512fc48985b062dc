using System.Threading.Channels;
using KeyVa.Cluster.Transport;
using Xunit;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>Keeps what a transport tells its node, for a test that waits for it.</summary>
internal sealed class TransportRecorder : ITransportReceiver
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Channel<(ulong Peer, byte[] Bytes)> _frames = Channel.CreateUnbounded<(ulong, byte[])>();
    private readonly HashSet<ulong> _up = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>If set, the transport's thread stands still in the next frame until it is signalled.</summary>
    public ManualResetEventSlim? Hold { get; set; }

    /// <summary>If set, frames are not kept.</summary>
    public bool Forgets { get; set; }

    public void Received(ulong peer, ReadOnlySpan<byte> frame)
    {
        Hold?.Wait(Patience);
        if (Forgets)
        {
            return;
        }

        _frames.Writer.TryWrite((peer, frame.ToArray()));
    }

    public void Delivered(bool lendsThread)
    {
    }

    public void PeerUp(ulong peer) => Change(peer, isUp: true);

    public void PeerDown(ulong peer) => Change(peer, isUp: false);

    /// <summary>The next frame, from whomever.</summary>
    public async Task<(ulong Peer, byte[] Bytes)> NextAsync() => await _frames.Reader.ReadAsync().AsTask().WaitAsync(Patience);

    /// <summary>Whether no frame has come that was not taken.</summary>
    public bool IsSilent => !_frames.Reader.TryPeek(out _);

    /// <summary>Waits until a peer is connected, or is not.</summary>
    public async Task UntilAsync(ulong peer, bool isUp)
    {
        while (true)
        {
            Task changed;
            lock (_up)
            {
                if (_up.Contains(peer) == isUp)
                {
                    return;
                }

                changed = _changed.Task;
            }

            await changed.WaitAsync(Patience);
        }
    }

    private void Change(ulong peer, bool isUp)
    {
        lock (_up)
        {
            Assert.True(isUp ? _up.Add(peer) : _up.Remove(peer), $"node {peer} was told twice to be {(isUp ? "up" : "down")}");
            _changed.SetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }
}
