using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>
/// One node: a group, its disk, its state machine and its clock, with the smallest driver that keeps the contract of
/// <see cref="Work"/>: disk and state machine answer later, in their order. It may be killed, and what it has in hand is gone;
/// or paused, and then everything that comes waits.
/// </summary>
internal sealed class RaftNode
{
    private const int TickInterval = 5;

    private readonly RaftSimulation _world;
    private readonly int _drift;
    private readonly long _clockStart;
    private readonly Work _work = new();
    private readonly List<(Action Action, bool IsRead)> _deferred = [];

    // What is in hand, and gone with a crash.
    private readonly Dictionary<long, (long Term, Action<RegisterResult?> Done)> _proposals = [];
    private readonly Dictionary<long, (int Key, Action<Refusal, int?> Done)> _reads = [];
    private readonly List<(long Context, long Index)> _confirmed = [];
    private readonly Dictionary<SnapshotMetadata, byte[]> _arrived = new(ReferenceEqualityComparer.Instance);
    private ReadOnlyMemory<Entry> _applying;
    private long _lastSync;
    private int _life;

    public RaftNode(RaftSimulation world, long id, SnapshotMetadata initial)
    {
        _world = world;
        Id = id;
        Disk = new RaftDisk(initial, RegisterMachine.EmptyState);
        Machine = new RegisterMachine();
        _drift = RaftPlan.DrawDrift(world.Random);
        _clockStart = world.Random.Next(1000);
    }

    public long Id { get; }

    public RaftDisk Disk { get; }

    public RegisterMachine Machine { get; private set; }

    /// <summary>Null while the node is down.</summary>
    public RaftGroup? Group { get; private set; }

    public bool IsPaused { get; private set; }

    private long Clock => _clockStart + _world.Events.Now + (_world.Events.Now * _drift / 1000);

    public void Start()
    {
        if (Group is not null)
        {
            return;
        }

        Machine = RegisterMachine.Decode(Disk.SnapshotState);
        RaftOptions options = _world.Plan.Options with { Id = Id, Seed = (ulong)_world.Random.NextInt64() };
        Group = new RaftGroup(options, Disk, Disk.Hard, Disk.Snapshot!.Index, Clock);
        _world.Checker.Started(this);
        PlanTick();
        Drive();
    }

    public void Crash()
    {
        if (Group is null)
        {
            return;
        }

        _world.Checker.Stopped(this);
        Group = null;
        _life++;
        IsPaused = false;
        _deferred.Clear();
        _proposals.Clear();
        _reads.Clear();
        _confirmed.Clear();
        _arrived.Clear();
        _applying = default;
        _lastSync = 0;
        Disk.Crash(_world.Random.Next(Disk.Unsynced + 1));
    }

    public void Pause() => IsPaused = Group is not null;

    /// <summary>
    /// Goes on. What has come meanwhile is met in any order, since it comes from several sockets and timers; often what clients want
    /// first, before the news that somebody else leads.
    /// </summary>
    public void Resume()
    {
        if (!IsPaused)
        {
            return;
        }

        IsPaused = false;
        (Action Action, bool IsRead)[] deferred = [.. _deferred];
        _deferred.Clear();
        switch (_world.Random.Next(3))
        {
            case 0:
                deferred = [.. deferred.OrderByDescending(static one => one.IsRead)];
                break;
            case 1:
                _world.Random.Shuffle(deferred);
                break;
        }

        foreach ((Action action, _) in deferred)
        {
            action();
        }
    }

    public void Receive(Message message, byte[]? state) => Run(() =>
    {
        if (state is not null)
        {
            _arrived[message.Snapshot!] = state;
        }

        _world.Checker.Received(this, message);
        Group!.Step(message, Clock);
        Drive();
    });

    /// <summary>A client's command; null in the end if it will never be applied from here.</summary>
    public void Propose(byte[] command, Action<RegisterResult?> done, Action<Refusal, long> refused) => Run(() =>
    {
        Proposed proposed = Group!.Propose(command, Clock);
        if (proposed.Refusal == Refusal.None)
        {
            _proposals[proposed.Index] = (proposed.Term, done);
        }
        else
        {
            Refuse(proposed.Refusal, refused);
        }

        Drive();
    });

    public void Read(int key, Action<Refusal, int?> done, Action<Refusal, long> refused) => Run(() =>
    {
        long context = _world.NextContext();
        Refusal refusal = Group!.Read(context, Clock);
        if (refusal == Refusal.None)
        {
            _reads[context] = (key, done);
        }
        else
        {
            Refuse(refusal, refused);
        }

        Drive();
    }, isRead: true);

    /// <summary>Something that an operator or the driver asks of the group.</summary>
    public void Ask(Action<RaftGroup, long> what) => Run(() =>
    {
        what(Group!, Clock);
        Drive();
    });

    /// <summary>Snapshots the state machine and lets the log go, all but a few entries.</summary>
    public void Compact(int keptEntries) => Run(() =>
    {
        long applied = Group!.AppliedIndex;
        if (_applying.IsEmpty && applied > Disk.Snapshot?.Index && applied <= Disk.LastIndex)
        {
            SnapshotMetadata snapshot = new(applied, Disk.TermAt(applied), Group.MembershipAt(applied));
            Disk.SaveSnapshot(snapshot, Machine.Encode(), keptEntries);
        }

        Drive();
    });

    private void Refuse(Refusal refusal, Action<Refusal, long> refused)
    {
        // A client wants something: this is what ends a silence whose leader may be gone.
        Group!.Wake(Clock);
        refused(refusal, Group.Leader);
    }

    private void Run(Action action, bool isRead = false)
    {
        if (Group is null)
        {
            return;
        }

        if (IsPaused)
        {
            int life = _life;
            _deferred.Add((Again, isRead));

            void Again()
            {
                if (life == _life)
                {
                    Run(action);
                }
            }

            return;
        }

        action();
    }

    private void After(long delay, Action action)
    {
        int life = _life;
        _world.Events.After(delay, () =>
        {
            if (life == _life)
            {
                Run(action);
            }
        });
    }

    private void PlanTick() => After(TickInterval + _world.Random.Next(3), () =>
    {
        if (Clock >= Group!.NextDeadline)
        {
            Group.Tick(Clock);
            Drive();
        }

        PlanTick();
    });

    private void Drive()
    {
        while (Group!.TryTakeWork(_work))
        {
            _world.Checker.Took(this, _work);
            if (_work.Number > 0)
            {
                Write();
            }

            foreach (Message message in _work.Messages)
            {
                Send(message);
            }

            foreach (ConfirmedRead read in _work.Reads)
            {
                Confirm(read);
            }

            if (!_work.Committed.IsEmpty)
            {
                _applying = _work.Committed;
                After(_world.Random.Next(4) == 0 ? _world.Random.Next(10) : 0, Apply);
            }
        }

        _world.Checker.Settled(this);
    }

    private void Write()
    {
        long number = _work.Number;
        SnapshotMetadata? snapshot = _work.Snapshot;
        byte[]? state = snapshot is null ? null : _arrived[snapshot];
        Disk.Write(_work, state);
        _lastSync = Math.Max(_lastSync, _world.Events.Now + _world.Random.Next(_world.IsHealed ? 3 : _world.Plan.SlowDisk));
        After(_lastSync - _world.Events.Now, () =>
        {
            if (snapshot is not null)
            {
                // Behind what is being applied.
                ApplyInHand();
                Machine = RegisterMachine.Decode(state);
                _arrived.Clear();
            }

            Disk.Sync(number);
            Group!.Persisted(number);
            AnswerReads();
            Drive();
        });
    }

    private void Send(in Message message)
    {
        byte[]? state = message.Snapshot == Disk.Snapshot ? Disk.SnapshotState : null;
        if (message.Kind != MessageKind.InstallSnapshot)
        {
            _world.Network.Send(message, null);
            return;
        }

        long to = message.To;
        SnapshotMetadata snapshot = message.Snapshot!;
        bool arrived = state is not null && _world.Network.Send(message, state);
        After(1 + _world.Random.Next(20), () =>
        {
            Group!.SnapshotSent(to, snapshot, arrived);
            Drive();
        });
    }

    private void Apply()
    {
        ApplyInHand();
        AnswerReads();
        Drive();
    }

    private void ApplyInHand()
    {
        ReadOnlyMemory<Entry> entries = _applying;
        _applying = default;
        foreach (Entry entry in entries.Span)
        {
            _world.Checker.Applied(this, entry);
            RegisterResult result = entry.Kind == EntryKind.Command ? Machine.Apply(RegisterCommand.Decode(entry.Data.Span)) : default;
            if (_proposals.Remove(entry.Index, out (long Term, Action<RegisterResult?> Done) proposal))
            {
                proposal.Done(proposal.Term == entry.Term ? result : null);
            }
        }

        if (!entries.IsEmpty)
        {
            Group!.Applied(entries.Span[^1].Index);
        }
    }

    private void Confirm(in ConfirmedRead read)
    {
        if (read.Refusal != Refusal.None)
        {
            if (_reads.Remove(read.Context, out (int Key, Action<Refusal, int?> Done) waiting))
            {
                waiting.Done(read.Refusal, null);
            }

            return;
        }

        _confirmed.Add((read.Context, read.Index));
        AnswerReads();
    }

    private void AnswerReads()
    {
        for (int i = 0; i < _confirmed.Count; i++)
        {
            if (_confirmed[i].Index <= Group!.AppliedIndex)
            {
                if (_reads.Remove(_confirmed[i].Context, out (int Key, Action<Refusal, int?> Done) read))
                {
                    read.Done(Refusal.None, Machine.Read(read.Key));
                }

                _confirmed.RemoveAt(i--);
            }
        }
    }
}
