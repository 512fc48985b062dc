using System.Collections.Concurrent;
using System.Globalization;
using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Wire;
using KeyVa.Log;
using KeyVa.Partitions;
using KeyVa.Raft;
using KeyVa.Replication;
using MessageKind = KeyVa.Raft.MessageKind;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// Drives the groups of a node: one loop for all of them, one journal with one sync for all of them, one frame to each peer for all that there
/// is to say at a moment. It does nothing by itself: whoever owns it calls <see cref="Run"/> when it was signalled or time has come, a thread
/// (<see cref="DriverThread"/>) or a simulation.
/// </summary>
/// <remarks>
/// Thread-safety: <see cref="Run"/> and what it reaches belong to one caller at a time. What other threads call only puts something into the
/// inbox, or marks a replica, and signals. The journal's thread completes records by the same way.
/// </remarks>
internal sealed class ClusterDriver : IReplication, ITransportReceiver
{
    private readonly DriverOptions _options;
    private readonly ITransport _transport;
    private readonly Func<long> _clock;
    private readonly Inbox _inbox;
    private readonly Action<Journal, ReplicaRecord> _write;
    private readonly ulong _life;

    // While opening, then the loop's; the map itself does not change once the store is open.
    private readonly Dictionary<long, RecoveredLog> _recovered = [];
    private readonly Dictionary<long, Replica> _replicas = [];
    private Journal? _journal;
    private SnapshotTraffic? _snapshots;

    // The loop's.
    private readonly Dictionary<long, FrameWriter> _frames = [];
    private readonly Dictionary<long, (ulong Life, ulong Number)> _newest = [];
    private readonly HashSet<Replica> _busy = [];
    private readonly List<(long At, Replica Replica, Action<Replica> Action)> _later = [];

    // Shared: partitions whose writers have something queued.
    private readonly ConcurrentDictionary<long, bool> _woken = new();
    private long _lastNumber;
    private volatile bool _isStopping;

    /// <summary>
    /// <paramref name="clock"/>: milliseconds, never falling. <paramref name="signal"/>: <see cref="Run"/> is to be called soon; any thread.
    /// <paramref name="write"/>: how a record gets into the journal; null: by <see cref="Journal.Enqueue"/>.
    /// </summary>
    public ClusterDriver(DriverOptions options, ITransport transport, Func<long> clock, Action signal, Action<Journal, ReplicaRecord>? write = null)
    {
        _options = options;
        _transport = transport;
        _clock = clock;
        _inbox = new Inbox(options.MaxInboxBytes, signal);
        _write = write ?? (static (journal, record) => journal.Enqueue(record));
        _life = options.Seed;
        _lastNumber = (long)(options.Seed >> 2);
    }

    public DriverOptions Options => _options;

    /// <summary>Hears of books that peers send, on the loop.</summary>
    public Action<ReadOnlyMemory<byte>>? BookReceived { get; set; }

    /// <summary>Called before a snapshot takes the place of a partition's state, on the loop: what reads at older versions has to end.</summary>
    public Action? Installing { get; set; }

    /// <summary>Hears of peers that can be reached from now on, on the loop.</summary>
    public Action<long>? PeerCameUp { get; set; }

    /// <summary>The groups, by partition; fixed once the store is open. Their state is the loop's: ask by <see cref="Post(long, Action{Replica, long})"/>.</summary>
    public IReadOnlyDictionary<long, Replica> Replicas => _replicas;

    /// <summary>What the groups write to; for a simulation, which waits for its thread.</summary>
    internal Journal? Journal => _journal;

    /// <summary>Frames that made no sense, or were of another cluster.</summary>
    public long BadFrames { get; private set; }

    /// <summary>No messages, no elections, no requests any more; what asks for a writer's role is still served, so that the store can close.</summary>
    public bool IsStopping => _isStopping;

    /// <summary>A number that this node gives once, in all its lives.</summary>
    public long NextNumber() => ++_lastNumber & long.MaxValue;

    void IReplication.Recover(in JournalRecord record)
    {
        long partition = record.Positions[0].Partition;
        if (!_recovered.TryGetValue(partition, out RecoveredLog? log))
        {
            _recovered[partition] = log = new RecoveredLog(partition) { KeepsSuperseded = _options.Has(DriverDefects.KeepsSuperseded) };
        }

        log.Read(record);
    }

    long IReplication.RecoveredIndex(long partition) => _recovered.GetValueOrDefault(partition)?.HighestIndex ?? 0;

    void IReplication.Opened(PartitionRegistry registry, StoreContext context, Journal journal)
    {
        _journal = journal;
        Check(registry, context);
        _snapshots = new SnapshotTraffic(this, _transport, context, registry);
        _transport.Snapshots.SetReceiver(_snapshots);
        var opened = new List<(Partition Partition, HardState State, SnapshotMetadata Stand, IReadOnlyList<Entry> Entries)>();
        foreach (Partition partition in registry.Map.Partitions)
        {
            if (!partition.Definition.IsVolatile)
            {
                opened.Add(Open(partition, journal));
            }
        }

        // Only now: a store that cannot be opened is closed without the loop.
        foreach ((Partition partition, HardState state, SnapshotMetadata stand, IReadOnlyList<Entry> entries) in opened)
        {
            _replicas[partition.Id] = new Replica(this, _options, partition.Writer.Replicate(this), state, stand, entries, _clock());
        }

        _recovered.Clear();
    }

    void IReplication.Wake(long partition)
    {
        _woken[partition] = true;
        _inbox.Signal();
    }

    void IReplication.DurableAdvanced(long partition, long index) => Post(() =>
    {
        if (_replicas.TryGetValue(partition, out Replica? replica))
        {
            replica.DurableAdvanced(index);
            _busy.Add(replica);
        }
    });

    void ITransportReceiver.Received(ulong peer, ReadOnlySpan<byte> frame) => _inbox.AddFrame((long)peer, frame);

    void ITransportReceiver.PeerUp(ulong peer) => Post(() => PeerCameUp?.Invoke((long)peer));

    void ITransportReceiver.PeerDown(ulong peer) => Post(() =>
    {
        foreach (Replica replica in _replicas.Values)
        {
            replica.PeerDown((long)peer, _clock());
            _busy.Add(replica);
        }
    });

    /// <summary>Has something done on the loop; any thread.</summary>
    public void Post(Action action) => _inbox.AddAction(action);

    /// <summary>Has something done with a replica on the loop, and the replica driven behind it; any thread. Nothing if there is no such partition.</summary>
    public void Post(long partition, Action<Replica, long> action) => Post(() =>
    {
        if (_replicas.TryGetValue(partition, out Replica? replica))
        {
            action(replica, _clock());
            _busy.Add(replica);
        }
    });

    /// <summary>
    /// Tells a waiter when everything that was committed anywhere before this call is applied here, in one partition; any thread.
    /// </summary>
    public void Read(long partition, IReadWaiter waiter) => Post(() =>
    {
        if (_replicas.TryGetValue(partition, out Replica? replica) && !_isStopping)
        {
            replica.Read(waiter, _clock());
            _busy.Add(replica);
        }
        else
        {
            waiter.Complete(Status.Unavailable);
        }
    });

    /// <summary>
    /// Does everything that there is to do, and returns when to come again at the latest, if nothing is signalled before.
    /// </summary>
    public long Run()
    {
        _inbox.Open();
        long now = _clock();
        while (_inbox.TryTake(out Inbox.Input input))
        {
            Take(input, now);
        }

        foreach ((long partition, _) in _woken)
        {
            if (_woken.TryRemove(partition, out _) && _replicas.TryGetValue(partition, out Replica? replica))
            {
                _busy.Add(replica);
            }
        }

        return _isStopping ? Serve(now) : Drive(now);
    }

    /// <summary>
    /// The loop's: something failed that must not (an invariant). Nothing goes on beside the rules: every replica of this node stops, as if the node
    /// had; what asks for a writer's role is still served.
    /// </summary>
    public void Stop(Exception failure)
    {
        foreach (Replica replica in _replicas.Values)
        {
            replica.Stop(new StoreException($"replication has stopped on this node: {failure.Message}; start it again, and report this", failure));
        }
    }

    /// <summary>The loop's: from here on nothing goes out and nothing is agreed on; callers are told so.</summary>
    public void BeginStop()
    {
        _isStopping = true;
        foreach (Replica replica in _replicas.Values)
        {
            replica.EndRequests();
        }
    }

    /// <summary>The loop's: has something done with a replica in so many milliseconds, and the replica driven behind it.</summary>
    public void After(long delay, Replica replica, Action<Replica> action) => _later.Add((_clock() + delay, replica, action));

    /// <summary>A record is done; called by the journal.</summary>
    public void Completed(ReplicaRecord record) => _inbox.AddRecord(record, _replicas.GetValueOrDefault(record.Positions[0].Partition));

    /// <summary>Writes a record to the journal; <see cref="Completed"/> follows.</summary>
    public void Write(ReplicaRecord record) => _write(_journal!, record);

    /// <summary>A replica's state with this base is durable: the journal may let go of what is before it.</summary>
    public void Release(long partition, long stand) => _journal!.Release(partition, stand);

    public void Send(Replica replica, in Message message)
    {
        _options.Sent?.Invoke(replica.Partition, message);
        if (message.Kind == MessageKind.InstallSnapshot)
        {
            _snapshots!.Send(replica, message);
            return;
        }

        Frame(message.To).Add(replica.Partition, message);
        FlushIfFull(message.To);
    }

    /// <summary>Hands a group to the leader; the number of the frame that it goes with. <see cref="Replica.NotSent"/> is told if that cannot be sent.</summary>
    public ulong Forward(long leader, long partition, long term, long group, byte early, ReadOnlySpan<byte> payload)
    {
        FrameWriter frame = Frame(leader);
        if (frame.IsFull)
        {
            Flush(leader, frame);
        }

        frame.AddForward(partition, term, group, early, payload);
        return frame.Number;
    }

    /// <summary>Tells a node of a group of its callers that is in the log.</summary>
    public void Tell(long peer, long partition, in EarlyReply reply) => Frame(peer).AddTold(partition, reply);

    /// <summary>Asks a leader how far the voters are.</summary>
    public void Ask(long leader, long partition, long term) => Frame(leader).AddAsk(partition, term);

    /// <summary>Tells a node how far the voters are.</summary>
    public void TellMatches(long peer, long partition, MatchIndexes matches) => Frame(peer).AddMatches(partition, matches);

    /// <summary>The loop's: sends a book to a peer.</summary>
    public void SendBook(long peer, ReadOnlySpan<byte> book)
    {
        if (peer != _options.Node)
        {
            Frame(peer).AddBook(book);
        }
    }

    public void Refuse(long peer, long partition, in FrameItem forward, ForwardRefusal reason, long leader) =>
        Frame(peer).AddRefused(partition, forward.Term, forward.Group, reason, leader);

    /// <summary>Whether a snapshot of a replica's state is on its way to a follower: its log is kept meanwhile.</summary>
    public bool IsSendingSnapshot(Replica replica) => _snapshots!.IsSending(replica.Partition);

    /// <summary>The loop's: makes files that have arrived the partition's.</summary>
    public ReplicatedWriter Install(long partition, string directory, byte[] head)
    {
        Installing?.Invoke();
        return _snapshots!.Install(partition, directory, head);
    }

    private static void Check(PartitionRegistry registry, StoreContext context)
    {
        if (context.Options.Durability != Durability.Always)
        {
            throw new StoreException("a node of a cluster syncs before it acknowledges: set durability to always, or leave it out");
        }

        if (registry.Indexes.Count > 0)
        {
            throw new StoreException($"the store has secondary indexes ('{registry.Indexes[0].Definition.Name}'), which are not possible in a cluster yet; drop them first");
        }
    }

    private (Partition Partition, HardState State, SnapshotMetadata Stand, IReadOnlyList<Entry> Entries) Open(Partition partition, Journal journal)
    {
        RecoveredLog? log = _recovered.GetValueOrDefault(partition.Id);
        HardState state;
        SnapshotMetadata stand;
        IReadOnlyList<Entry> entries = [];
        SnapshotMetadata? installed = SnapshotMeta.Read(partition.Engine.Context.FileSystem, partition.Engine.Context.Directory, _options.Cluster);
        if (installed is not null && (log?.Base is null || log.Base.Index < installed.Index))
        {
            // Its files took the place of the others, and then the process ended before the log could say so.
            (state, stand) = (log?.State ?? default, installed);
            WriteFirst(partition.Id, state, stand, journal);
        }
        else if (log is not null)
        {
            log.Finish();
            (state, stand, entries) = (log.State!.Value, log.Base!, log.Entries);
            long last = entries.Count > 0 ? entries[^1].Index : stand.Index;
            long applied = partition.Engine.AppliedIndex;
            if (applied > last || (applied < stand.Index && stand.Index > SnapshotMetadata.InitialIndex))
            {
                throw new CorruptionException(partition.Engine.Context.Directory, 0, string.Create(CultureInfo.InvariantCulture, $"the partition's files end at index {applied}, its replicated log is from {stand.Index} to {last}: files are missing; remove this node from its cluster and add it again with an empty folder"));
            }
        }
        else
        {
            (state, stand) = (default, Begin(partition));
            WriteFirst(partition.Id, state, stand, journal);
        }

        return (partition, state, stand, entries);
    }

    /// <summary>What a group begins with: its first members alike, one that joins with nothing, a store that was alone with all that it holds.</summary>
    private SnapshotMetadata Begin(Partition partition)
    {
        long applied = partition.Engine.AppliedIndex;
        if (_options.FirstVoters.Count == 0)
        {
            return applied == 0
                ? SnapshotMetadata.None
                : throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"partition {partition.Id} holds data of its own, which joining a cluster would replace; join with an empty folder"));
        }

        var members = new Membership(_options.FirstVoters);
        if (applied == 0)
        {
            return SnapshotMetadata.Initial(members);
        }

        return _options.FirstVoters.Count == 1
            ? new SnapshotMetadata(Math.Max(applied, SnapshotMetadata.InitialIndex), 1, members)
            : throw new StoreException("this folder holds data, which the other first nodes do not have: begin the cluster with this node alone, and add the others to it");
    }

    private static void WriteFirst(long partition, HardState state, SnapshotMetadata stand, Journal journal)
    {
        var record = new ReplicaRecord(partition, static _ => { });
        record.Fill(0, state, stand, []);
        if (journal.Append(record) != AppendOutcome.Appended)
        {
            throw journal.Failure ?? new StoreException("the disk has no room for the beginning of a replicated partition");
        }
    }

    private void Take(in Inbox.Input input, long now)
    {
        if (input.Frame is { } frame)
        {
            if (!_isStopping)
            {
                TakeFrame(input.Peer, frame, now);
            }
        }
        else if (input.Record is { } record)
        {
            input.Replica!.Completed(record, now);
            _busy.Add(input.Replica);
        }
        else
        {
            input.Action!();
        }
    }

    private void TakeFrame(long peer, byte[] frame, long now)
    {
        if (!FrameReader.TryOpen(frame, _options.Cluster, peer, _options.Node, out FrameReader reader))
        {
            BadFrames++;
            return;
        }

        (ulong life, ulong newest) = _newest.GetValueOrDefault(peer);
        bool isNewest = life != reader.Life || reader.Number > newest || _options.Has(DriverDefects.TakesForwardsTwice);
        if (isNewest)
        {
            _newest[peer] = (reader.Life, reader.Number);
        }

        while (reader.TryRead(out FrameItem item))
        {
            TakeItem(peer, item, isNewest, now);
        }

        BadFrames += reader.IsIntact ? 0 : 1;
    }

    private void TakeItem(long peer, in FrameItem item, bool isNewest, long now)
    {
        if (item.Kind == FrameFormat.Book)
        {
            BookReceived?.Invoke(item.Bytes);
        }

        if (!_replicas.TryGetValue(item.Partition, out Replica? replica))
        {
            return;
        }

        _busy.Add(replica);
        switch (item.Kind)
        {
            case FrameFormat.Forward when isNewest:
                replica.Forwarded(peer, item, now);
                break;
            case FrameFormat.Forward:
                break;
            case FrameFormat.Refused:
                replica.ForwardRefused(peer, item, now);
                break;
            case FrameFormat.Told:
                replica.Told(peer, item.Reply);
                break;
            case FrameFormat.Ask:
                replica.Asked(peer);
                break;
            case FrameFormat.Matches:
                replica.MatchesTold(item);
                break;
            default:
                replica.Step(item.Message, now);
                break;
        }
    }

    private long Drive(long now)
    {
        long next = DoLater(now);
        foreach (Replica replica in _replicas.Values)
        {
            if (now >= replica.WakeAt)
            {
                replica.Tick(now);
                _busy.Add(replica);
            }

            if (_busy.Contains(replica))
            {
                replica.Drive(now);
            }

            next = Math.Min(next, replica.WakeAt);
        }

        _busy.Clear();
        FlushAll();
        return next;
    }

    /// <summary>Does what was put off and is due; when the next of it is.</summary>
    private long DoLater(long now)
    {
        long next = long.MaxValue;
        for (int i = 0; i < _later.Count; i++)
        {
            (long at, Replica replica, Action<Replica> action) = _later[i];
            if (at > now)
            {
                next = Math.Min(next, at);
                continue;
            }

            _later.RemoveAt(i--);
            action(replica);
            _busy.Add(replica);
        }

        return next;
    }

    /// <summary>While stopping: only what asks for a writer's role.</summary>
    private long Serve(long now)
    {
        foreach (Replica replica in _replicas.Values)
        {
            replica.TakeRequests(now);
        }

        _busy.Clear();
        return long.MaxValue;
    }

    private FrameWriter Frame(long peer)
    {
        if (!_frames.TryGetValue(peer, out FrameWriter? frame))
        {
            _frames[peer] = frame = new FrameWriter(_options.Cluster, _life);
        }

        return frame;
    }

    private void FlushIfFull(long peer)
    {
        if (_frames[peer].IsFull)
        {
            Flush(peer, _frames[peer]);
        }
    }

    private void FlushAll()
    {
        foreach ((long peer, FrameWriter frame) in _frames)
        {
            if (!frame.IsEmpty)
            {
                Flush(peer, frame);
            }
        }
    }

    private void Flush(long peer, FrameWriter frame)
    {
        if (!_transport.TrySend((ulong)peer, frame.Written))
        {
            foreach (Replica replica in _replicas.Values)
            {
                replica.Group.Unreachable(peer);
                replica.NotSent(peer, frame.Number);
            }
        }

        frame.Clear();
    }
}
