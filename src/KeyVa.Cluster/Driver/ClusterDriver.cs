using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using KeyVa.Cluster.Changes;
using KeyVa.Cluster.Commits;
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
    /// <summary>
    /// Bytes of frames in one turn, and the rest of the last one: what they bring is on its way to the disk before more is looked at, in records of the journal that do not grow with
    /// what a leader sends at once.
    /// </summary>
    private const long TurnBytes = 2 << 20;

    /// <summary>With more reads and groups of this node's callers unanswered, it pays to let some more come together before the loop looks.</summary>
    private const int MostForLending = 2;

    /// <summary>As <see cref="MostForLending"/>, of bytes that peers sent.</summary>
    private const int MostBytesForLending = 16 << 10;

    private readonly DriverOptions _options;
    private readonly ITransport _transport;
    private readonly Func<long> _clock;
    private readonly Inbox _inbox;
    private readonly Func<bool>? _tryRun;
    private readonly Action<Journal, ReplicaRecord> _write;
    private readonly ulong _life;
    private readonly CommitTraffic _commits;

    // While opening, then the loop's.
    private readonly Dictionary<long, RecoveredLog> _recovered = [];
    private Journal? _journal;
    private PartitionRegistry? _registry;
    private SnapshotTraffic? _snapshots;

    // Read by any thread; the loop puts another in its place when partitions are learned of.
    private Dictionary<long, Replica> _replicas = [];

    // The loop's.
    private readonly HashSet<long> _strangers = [];
    private readonly Dictionary<long, FrameWriter> _frames = [];
    private readonly Dictionary<long, PeerLives> _lives = [];
    private readonly SilentGroups _silent;
    private readonly Action<long> _giveSign;
    private readonly HashSet<Replica> _busy = [];
    private readonly List<(long At, Replica Replica, Action<Replica> Action)> _later = [];

    // How many of this node's callers' requests were unanswered lately: it grows at once, and shrinks by an eighth in each run.
    private int _crowd;

    // Written by the loop, read by anybody.
    private volatile bool _isLendable = true;

    // Shared: partitions whose writers have something queued.
    private readonly ConcurrentDictionary<long, bool> _woken = new();
    private long _lastNumber;

    private volatile bool _isStopping;

    // Nobody runs the loop any more. What comes then is done where it comes from, by one at a time.
    private readonly Lock _endGate = new();
    private volatile bool _hasEnded;

    /// <summary>
    /// <paramref name="clock"/>: milliseconds, never falling. <paramref name="signal"/>: <see cref="Run"/> is to be called soon; any thread.
    /// <paramref name="write"/>: how a record gets into the journal; null: by <see cref="Journal.Enqueue"/>. <paramref name="tryRun"/>: calls <see cref="Run"/> on the calling thread, if nobody else
    /// runs it; null: nobody lends its thread.
    /// </summary>
    public ClusterDriver(
        DriverOptions options,
        ITransport transport,
        Func<long> clock,
        Action signal,
        Action<Journal, ReplicaRecord>? write = null,
        Func<bool>? tryRun = null)
    {
        _tryRun = tryRun;
        _options = options;
        _transport = transport;
        _clock = clock;
        _inbox = new Inbox(options.MaxInboxBytes, signal);
        _write = write ?? (static (journal, record) => journal.Enqueue(record));
        _life = options.Seed;
        _silent = new SilentGroups(options);
        _giveSign = peer => Flush(peer, Frame(peer));
        _lastNumber = (long)(options.Seed >> 2);
        _commits = new CommitTraffic(this);
        Changes = new ChangeTraffic(this);
    }

    public DriverOptions Options => _options;

    public long Now => _clock();

    /// <summary>Commits over several partitions.</summary>
    public CommitTraffic Commits => _commits;

    /// <summary>Who leads the partitions; any thread.</summary>
    public Leaders Leaders { get; } = new();

    /// <summary>Changes of the partitions' members.</summary>
    public ChangeTraffic Changes { get; }

    /// <summary>Hears of layouts that peers send, and whether they answer this node's, on the loop.</summary>
    public Action<long, ReadOnlyMemory<byte>, bool>? LayoutReceived { get; set; }

    /// <summary>Hears of peers that speak of partitions while this node has none, on the loop.</summary>
    public Action<long>? LayoutMissed { get; set; }

    /// <summary>Hears of books that peers send, on the loop.</summary>
    public Action<ReadOnlyMemory<byte>>? BookReceived { get; set; }

    /// <summary>Called before a snapshot takes the place of a partition's state, on the loop: what reads at older versions has to end.</summary>
    public Action? Installing { get; set; }

    /// <summary>Hears of peers that can be reached from now on, on the loop.</summary>
    public Action<long>? PeerCameUp { get; set; }

    /// <summary>
    /// The groups, by partition; a node that joins has none until it is told of them, and then all, before the partitions can be found. Their state is the loop's: ask by
    /// <see cref="Post(long, Action{Replica, long})"/>.
    /// </summary>
    public IReadOnlyDictionary<long, Replica> Replicas => Volatile.Read(ref _replicas);

    /// <summary>Whether this node has any partition, its own volatile ones too.</summary>
    public bool HasPartitions => _registry!.Map.Partitions.Length > 0;

    /// <summary>The partitions as this node has them.</summary>
    public PartitionLayout Layout => PartitionLayout.Of(_registry!.Catalog);

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
        _registry = registry;
        _commits.Oracle = context.Oracle;
        GroupOpening.Check(registry, context);
        _snapshots = new SnapshotTraffic(this, _transport, context, registry);
        _transport.Snapshots.SetReceiver(_snapshots);
        var opened = new List<(Partition Partition, GroupOpening Group)>();
        foreach (Partition partition in registry.Map.Partitions)
        {
            if (!partition.Definition.IsVolatile)
            {
                opened.Add((partition, GroupOpening.Open(_options, partition, _recovered.GetValueOrDefault(partition.Id), journal)));
            }
        }

        // Only now: a store that cannot be opened is closed without the loop.
        foreach ((Partition partition, GroupOpening group) in opened)
        {
            _replicas[partition.Id] = NewReplica(partition, group);
        }

        _recovered.Clear();
    }

    Task<WriteResult> IReplication.CommitAsync(CommandBuilder command, IReadOnlyList<CommitPart> parts) => _commits.CommitAsync(command, parts);

    Task<WriteResult> IReplication.ReachAsync(long partition, long version) => _commits.ReachAsync(partition, version);

    Task<int> IReplication.CountVotersAsync(long partition)
    {
        if (_isStopping)
        {
            // The loop may have ended.
            return Task.FromResult(0);
        }

        var counted = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(() => counted.SetResult(_replicas.TryGetValue(partition, out Replica? replica) ? replica.Group.Membership.Voters.Length : 0));
        return counted.Task;
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

    // While much comes, who receives and who takes it in are better two threads.
    void ITransportReceiver.Delivered(bool lendsThread) => Look(lendsThread && _inbox.FrameBytes <= MostBytesForLending);

    void ITransportReceiver.PeerUp(ulong peer) => Post(() =>
    {
        PeerCameUp?.Invoke((long)peer);
        _silent.Wake((long)peer, _clock(), _busy);
    });

    void ITransportReceiver.PeerDown(ulong peer) => Post(() => _silent.Wake((long)peer, _clock(), _busy));

    /// <summary>Has something done on the loop; any thread.</summary>
    public void Post(Action action)
    {
        _inbox.AddAction(action);
        DoIfEnded();
    }

    /// <summary>Has something done with a replica on the loop, and the replica driven behind it; any thread. Nothing if there is no such partition.</summary>
    public void Post(long partition, Action<Replica, long> action) => Post(() =>
    {
        if (_replicas.TryGetValue(partition, out Replica? replica))
        {
            action(replica, _clock());
            _busy.Add(replica);
        }
    });

    /// <summary>The loop's: a replica that is asked for something, and is driven behind it.</summary>
    public bool TryUse(long partition, [NotNullWhen(true)] out Replica? replica)
    {
        if (!_replicas.TryGetValue(partition, out replica))
        {
            return false;
        }

        _busy.Add(replica);
        return true;
    }

    /// <summary>
    /// The loop's: makes partitions that other nodes have this node's too; it has none yet, and gets their state from whoever leads them. Throws
    /// <see cref="StoreException"/> where the disk does not take them: then there are none as before.
    /// </summary>
    public void Learn(PartitionLayout layout) => _registry!.Learn(
        layout.Partitions,
        layout.NextId,
        begin: partition => GroupOpening.Join(partition.Id, _journal!),
        join: partitions =>
        {
            Dictionary<long, Replica> replicas = new(_replicas);
            foreach (Partition partition in partitions)
            {
                replicas[partition.Id] = NewReplica(partition, GroupOpening.Joined);
                _busy.Add(replicas[partition.Id]);
            }

            Volatile.Write(ref _replicas, replicas);
        });

    /// <summary>The loop's: whether a peer has other partitions under the same numbers: then nothing that it says of them is of any use.</summary>
    public void SetStranger(long peer, bool isStranger)
    {
        if (isStranger)
        {
            _strangers.Add(peer);
        }
        else
        {
            _strangers.Remove(peer);
        }
    }

    /// <summary>
    /// Tells a waiter when everything that was committed anywhere before this call is applied here, in one partition; any thread. <paramref name="lendsThread"/>: the calling one holds no
    /// lock, and may run the loop.
    /// </summary>
    public void Read(long partition, IReadWaiter waiter, bool lendsThread)
    {
        _inbox.AddQuietly(() =>
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
        Look(lendsThread);
        DoIfEnded();
    }

    /// <summary>
    /// Has the loop look at what was added: on this thread, if it may be had, nobody else runs the loop and few wait. Where many do, a change of threads costs little, and what comes meanwhile shares a
    /// round.
    /// </summary>
    private void Look(bool lendsThread)
    {
        if (!lendsThread || !_isLendable || _tryRun?.Invoke() != true)
        {
            _inbox.Signal();
        }
    }

    /// <summary>
    /// Does everything that there is to do, and returns when to come again at the latest, if nothing is signalled before.
    /// </summary>
    public long Run()
    {
        _inbox.Open();
        long bytes = 0;
        while (bytes < TurnBytes && _inbox.TryTake(out Inbox.Input input))
        {
            bytes += input.Frame?.Length ?? 0;

            // Read when the input is in hand: a process that was stopped a moment ago must not take it for one of before (leases).
            Take(input, _clock());
        }

        foreach ((long partition, _) in _woken)
        {
            if (_woken.TryRemove(partition, out _) && _replicas.TryGetValue(partition, out Replica? replica))
            {
                _busy.Add(replica);
            }
        }

        long now = _clock();
        long next = _isStopping ? Serve(now) : Drive(now);
        return bytes < TurnBytes ? next : now;
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

        _commits.End();
    }

    /// <summary>Nobody runs the loop any more, which was stopped before: whoever asks for something from here on, or has asked and was not heard, is told that the node has ended.</summary>
    public void End()
    {
        _hasEnded = true;
        DoIfEnded();
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

    /// <summary>The loop's: sends a peer one more item, as the last of its frame, at once; false: it could not be sent.</summary>
    public bool SendLast(long peer, Action<FrameWriter> add)
    {
        FrameWriter frame = Frame(peer);
        add(frame);
        return Flush(peer, frame);
    }

    public void Refuse(long peer, long partition, in FrameItem forward, ForwardRefusal reason, long leader) =>
        Frame(peer).AddRefused(partition, forward.Term, forward.Group, reason, leader);

    /// <summary>Whether a snapshot of a replica's state is on its way to a follower: its log is kept meanwhile.</summary>
    public bool IsSendingSnapshot(Replica replica) => _snapshots!.IsSending(replica.Partition);

    /// <summary>The loop's: makes files that have arrived the partition's.</summary>
    public ReplicatedWriter Install(long partition, string directory, byte[] head)
    {
        Installing?.Invoke();
        ReplicatedWriter writer = _snapshots!.Install(partition, directory, head);
        if (_options.Has(DriverDefects.InstallsWithoutSettings) && writer.Engine.Settings.TrySet("acknowledgement"u8, "default"u8))
        {
            writer.Engine.Settings.Publish();
        }

        return writer;
    }

    // Behind what was added, and that behind a fence: either this sees that the loop has ended, or who ends it sees what was added.
    private void DoIfEnded()
    {
        if (!_hasEnded)
        {
            return;
        }

        lock (_endGate)
        {
            while (_inbox.TryTake(out Inbox.Input input))
            {
                input.Action?.Invoke();
            }
        }
    }

    private Replica NewReplica(Partition partition, GroupOpening group) =>
        new(this, _options, partition.Writer.Replicate(this), group.State, group.Base, group.Entries, _clock());

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

        _silent.Heard(peer, now);
        if (!_lives.TryGetValue(peer, out PeerLives? lives))
        {
            _lives[peer] = lives = new PeerLives();
        }

        bool isNew = lives.Take(reader.Life, reader.Number, out bool beganAnew) || _options.Has(DriverDefects.TakesForwardsTwice);
        if (beganAnew)
        {
            // It leads nothing any more; or it was not heard of yet.
            _silent.Wake(peer, now, _busy);
        }

        while (reader.TryRead(out FrameItem item))
        {
            TakeItem(peer, item, isNew, now);
        }

        BadFrames += reader.IsIntact ? 0 : 1;
    }

    private void TakeItem(long peer, in FrameItem item, bool isNew, long now)
    {
        switch (item.Kind)
        {
            case FrameFormat.Book:
                BookReceived?.Invoke(item.Bytes);
                return;
            case FrameFormat.Layout:
                LayoutReceived?.Invoke(peer, item.Bytes, item.IsAnswer);
                return;
            case FrameFormat.Change:
                Changes.Asked(peer, item);
                return;
            case FrameFormat.Changed:
                Changes.Answered(peer, item);
                return;
        }

        if (_strangers.Contains(peer))
        {
            return;
        }

        if (!TryUse(item.Partition, out Replica? replica))
        {
            if (LayoutMissed is { } missed && !HasPartitions)
            {
                missed(peer);
            }

            return;
        }

        switch (item.Kind)
        {
            case FrameFormat.Forward when isNew:
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
        _silent.WakeForLost(now, _busy);
        int unanswered = 0;
        foreach (Replica replica in _replicas.Values)
        {
            unanswered += replica.Unanswered;
            if (now >= replica.WakeAt)
            {
                replica.Tick(now);
                _busy.Add(replica);
            }

            if (_busy.Contains(replica))
            {
                replica.Drive(now);
                _silent.Follow(replica);
                Leaders.Note(replica);
            }

            next = Math.Min(next, replica.WakeAt);
        }

        _crowd = Math.Max(unanswered, _crowd - ((_crowd + 7) / 8));
        _isLendable = _crowd <= MostForLending;
        _busy.Clear();
        FlushAll();
        return Math.Min(Math.Min(next, _commits.Run(now)), _silent.GiveSigns(now, _giveSign));
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

    private bool Flush(long peer, FrameWriter frame)
    {
        _silent.Told(peer, _clock());
        bool isSent = _transport.TrySend((ulong)peer, frame.Written);
        if (!isSent)
        {
            foreach (Replica replica in _replicas.Values)
            {
                replica.Group.Unreachable(peer);
                replica.NotSent(peer, frame.Number);
            }
        }

        frame.Clear();
        return isSent;
    }
}
