using System.Diagnostics;
using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Transport.ZeroMq;
using KeyVa.Io;

namespace KeyVa.Bench.Cluster;

/// <summary>
/// The transport between two nodes by itself, both in this process, over loopback, with and without keys: how long a frame takes there and back, how many arrive per second, and how fast
/// files arrive durably, beside a copy of the same files over a socket.
/// </summary>
internal sealed class TransportBench(BenchOptions options)
{
    private const int FrameBytes = 256;
    private const string Plain = "plain";
    private const string Curve = "curve";
    private const string Copy = "tcp-copy";

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    public Section Run()
    {
        Section section = new("Transport between nodes", askedRatio: 0.5);
        section.Targets.Add((Plain, "libzmq over TCP without keys"));
        section.Targets.Add((Curve, "libzmq over TCP, encrypted and authenticated"));
        section.Targets.Add((Copy, SocketCopy.Settings));
        long files = Math.Max(1, options.OpenBytes / 10 / SocketCopy.FileBytes);
        section.Conditions.Add(("round trip", $"a frame of {FrameBytes} bytes there and back, one under way"));
        section.Conditions.Add(("frames", $"frames of {FrameBytes} bytes one way, as many as the queue takes"));
        section.Conditions.Add(("files", $"operations are MiB: {files} files of {SocketCopy.FileBytes >> 20} MiB, until the receiver has synced all of them"));
        for (int round = 0; round < options.Rounds; round++)
        {
            foreach (string target in (string[])[Plain, Curve])
            {
                using DataFolder folder = new(options.Data, "transport");
                using Pair pair = new(target == Curve);
                section.Add("round trip", 1, target, pair.RoundTrips(options.SyncSeconds));
                section.Add("frames", 1, target, pair.Stream(options.SyncSeconds));
                section.Add("files", 1, target, pair.Files(SocketCopy.Make(folder.Path, files), Path.Combine(folder.Path, "arrived")));
            }

            using DataFolder copied = new(options.Data, "transport");
            section.Add("files", 1, Copy, SocketCopy.Run(SocketCopy.Make(copied.Path, files), Path.Combine(copied.Path, "arrived")));
        }

        return section;
    }

    /// <summary>Two nodes that know each other; the second echoes what the first asks to be echoed.</summary>
    private sealed class Pair : ITransportReceiver, ISnapshotReceiver, IDisposable
    {
        private readonly ZmqTransport _first;
        private readonly ZmqTransport _second;
        private readonly SemaphoreSlim _back = new(0);
        private readonly CountdownEvent _up = new(2);
        private readonly byte[] _frame = new byte[FrameBytes];
        private long _arrived;
        private string _target = "";

        public Pair(bool withKeys)
        {
            Guid cluster = Guid.NewGuid();
            NodeKeys?[] keys = withKeys ? [NodeKeys.Create(), NodeKeys.Create()] : [null, null];
            _first = new ZmqTransport(new ZmqTransportOptions { Node = 1, Cluster = cluster, Port = 0, Keys = keys[0] }, DiskFileSystem.Instance);
            _second = new ZmqTransport(new ZmqTransportOptions { Node = 2, Cluster = cluster, Port = 0, Keys = keys[1] }, DiskFileSystem.Instance);
            _second.Snapshots.SetReceiver(this);
            _first.Start(this);
            _second.Start(this);
            _first.SetPeers(new Dictionary<ulong, PeerAddress> { [2] = new("127.0.0.1", _second.Port, keys[1]?.PublicKey) });
            _second.SetPeers(new Dictionary<ulong, PeerAddress> { [1] = new("127.0.0.1", _first.Port, keys[0]?.PublicKey) });
            if (!_up.Wait(Patience))
            {
                throw new InvalidOperationException("the two nodes did not find each other");
            }
        }

        public Sample RoundTrips(double seconds)
        {
            Histogram latency = new();
            _frame[0] = 1;
            long begun = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(begun).TotalSeconds < seconds)
            {
                long one = Stopwatch.GetTimestamp();
                if (!_first.TrySend(2, _frame) || !_back.Wait(Patience))
                {
                    throw new InvalidOperationException("a frame did not come back");
                }

                latency.Add(Stopwatch.GetTimestamp() - one);
            }

            return new Sample
            {
                Operations = latency.Count,
                Seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds,
                P50 = latency.Microseconds(0.50),
                P99 = latency.Microseconds(0.99),
                P999 = latency.Microseconds(0.999),
            };
        }

        public Sample Stream(double seconds)
        {
            _frame[0] = 0;
            Volatile.Write(ref _arrived, 0);
            long sent = 0;
            long begun = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(begun).TotalSeconds < seconds)
            {
                if (_first.TrySend(2, _frame))
                {
                    sent++;
                }
                else
                {
                    Thread.Yield();
                }
            }

            while (Volatile.Read(ref _arrived) < sent)
            {
                Thread.Yield();
            }

            return new Sample { Operations = sent, Seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds };
        }

        public Sample Files(List<SnapshotFile> files, string target)
        {
            Directory.CreateDirectory(target);
            _target = target;
            using ManualResetEventSlim done = new();
            bool success = false;
            long begun = Stopwatch.GetTimestamp();
            _first.Snapshots.Send(2, new byte[] { 1 }, files, arrived =>
            {
                success = arrived;
                done.Set();
            });
            return done.Wait(Patience) && success
                ? new Sample { Operations = (long)files.Count * (SocketCopy.FileBytes >> 20), Seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds }
                : throw new InvalidOperationException("the files did not arrive");
        }

        public void Received(ulong peer, ReadOnlySpan<byte> frame)
        {
            if (peer == 2)
            {
                _back.Release();
            }
            else if (frame[0] == 1)
            {
                _second.TrySend(1, frame);
            }
            else
            {
                Volatile.Write(ref _arrived, _arrived + 1);
            }
        }

        public void Delivered(bool lendsThread)
        {
        }

        public void PeerUp(ulong peer) => _up.Signal();

        public void PeerDown(ulong peer)
        {
        }

        public string? Begin(ulong peer, ReadOnlySpan<byte> head) => _target;

        public bool End(ulong peer, string directory, bool complete) => complete;

        public void Dispose()
        {
            _first.DisposeAsync().AsTask().GetAwaiter().GetResult();
            _second.DisposeAsync().AsTask().GetAwaiter().GetResult();
            _back.Dispose();
            _up.Dispose();
        }
    }
}
