namespace KeyVa.Log;

/// <summary>
/// The journal's own thread: does what no caller waits for. It leads rounds of asynchronous entries, completes them, syncs
/// at intervals, marks an idle journal's end, makes the next segment ready, deletes retired files that nobody came for, and tells of a budget that is passed.
/// </summary>
/// <remarks>
/// <para>It shares the <see cref="Journal"/>'s gate. Members that say "gate held" are called inside it, by the journal; they
/// only note what is to be done and wake the thread.</para>
/// <para>Invariants.
/// 1. Work is noted under the gate and taken whole under the gate: none is lost, and none is done twice.
/// 2. The gate is never held over the disk, nor over a call of an entry's <see cref="JournalEntry.Completed"/>.
/// 3. The thread ends when the journal closes, nobody has the flusher's role, and nothing is left to do.</para>
/// </remarks>
internal sealed class JournalSyncThread
{
    // Immutable.
    private readonly Journal _journal;
    private readonly object _gate;
    private readonly JournalOptions _options;
    private readonly SegmentFiles _files;
    private readonly SegmentList _segments;
    private readonly JournalWriter _writer;
    private readonly Thread _thread;
    private readonly ITimer _timer;
    private readonly ITimer _retirement;

    // Guarded by the gate. Entries to be completed run from _doneHead to _doneTail.
    private JournalEntry? _doneHead;
    private JournalEntry? _doneTail;
    private bool _timerArmed;
    private bool _ticked;
    private bool _spareWanted;
    private long _spareAsked;
    private long _segmentsSeen;
    private bool _budgetPassed;
    private bool _retirementArmed;
    private bool _retirementOver;
    private long _segmentsAtRetirement;
    private bool _isWaiting;

    // The thread's own.
    private long _endAtTick = -1;

    public JournalSyncThread(Journal journal, object gate, JournalOptions options, SegmentFiles files, SegmentList segments, JournalWriter writer, TimeProvider time)
    {
        _journal = journal;
        _gate = gate;
        _options = options;
        _files = files;
        _segments = segments;
        _writer = writer;
        _timer = time.CreateTimer(
            static state => ((JournalSyncThread)state!).Tick(),
            this,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan);
        _retirement = time.CreateTimer(
            static state => ((JournalSyncThread)state!).EndRetirement(),
            this,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan);
        _thread = new Thread(Run) { IsBackground = true, Name = "KeyVa journal" };
    }

    public bool IsCurrent => Thread.CurrentThread == _thread;

    /// <summary>Gate held: the flusher's role is the thread's, which may not be awake yet; cleared by whoever takes it over.</summary>
    public bool Leads { get; set; }

    /// <summary>Gate held: the journal closes.</summary>
    public bool IsClosing { get; private set; }

    /// <summary>Gate held: nothing is done any more.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>Gate held: the thread waits, and nothing is left for it to do.</summary>
    public bool IsAtRest => _isWaiting && !HasWork;

    private bool HasWork => Leads || _doneHead is not null || _ticked || _spareWanted || _budgetPassed || _retirementOver;

    public void Start() => _thread.Start();

    /// <summary>Lets the thread finish what is to be done, and waits for its end. Once.</summary>
    public void Stop()
    {
        _thread.Join();
        _timer.Dispose();
        _retirement.Dispose();
    }

    /// <summary>Gate held: from now on the thread ends when all is done.</summary>
    public void BeginClose()
    {
        IsClosing = true;
        Monitor.PulseAll(_gate);
    }

    /// <summary>Gate held: hands the flusher's role to the thread.</summary>
    public void WakeToLead()
    {
        Leads = true;
        Monitor.PulseAll(_gate);
    }

    /// <summary>Gate held: the thread is to complete an entry, whose outcome is set.</summary>
    public void AddDone(JournalEntry entry)
    {
        if (_doneTail is null)
        {
            _doneHead = entry;
            Monitor.PulseAll(_gate);
        }
        else
        {
            _doneTail.Next = entry;
        }

        _doneTail = entry;
    }

    /// <summary>Gate held: notes what a round leaves to the thread: a spare segment, a budget passed, the next tick.</summary>
    public void NoteNeeds()
    {
        if (_writer.WantsSpare && _spareAsked < _writer.NextSequence)
        {
            _spareAsked = _writer.NextSequence;
            _spareWanted = true;
            _files.IsPreparing = true;
            Monitor.PulseAll(_gate);
        }

        if (_segmentsSeen != _writer.SegmentsBegun)
        {
            _segmentsSeen = _writer.SegmentsBegun;
            _budgetPassed = _options.BudgetExceeded is not null && _segments.Bytes > _options.BudgetBytes;
            if (_budgetPassed)
            {
                Monitor.PulseAll(_gate);
            }
        }

        ArmTimer();
    }

    /// <summary>Gate held: there may be files that wait to become segments. They do not wait for ever.</summary>
    public void NoteRetired()
    {
        if (!_retirementArmed && !IsClosing && _files.Retired.Any)
        {
            _retirementArmed = true;
            _segmentsAtRetirement = _writer.SegmentsBegun;
            _retirement.Change(_options.ReuseWithin, Timeout.InfiniteTimeSpan);
        }
    }

    // Where segments are still begun, the files that wait have another term.
    private void EndRetirement()
    {
        lock (_gate)
        {
            _retirementArmed = false;
            if (_segmentsAtRetirement != _writer.SegmentsBegun)
            {
                NoteRetired();
                return;
            }

            _retirementOver = true;
            Monitor.PulseAll(_gate);
        }
    }

    // Under Os nothing is ever synced unasked, so there is nothing to do at a tick.
    private void ArmTimer()
    {
        if (!_timerArmed && !IsClosing && _options.Durability != Durability.Os && !_writer.EndsInMark)
        {
            _timerArmed = true;
            _timer.Change(
                _options.Durability == Durability.Interval ? _options.SyncInterval : _options.IdleMark,
                Timeout.InfiniteTimeSpan);
        }
    }

    private void Tick()
    {
        lock (_gate)
        {
            _timerArmed = false;
            _ticked = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void Run()
    {
        Journal.IsCompleting = true;
        while (TryWaitForWork(out Work work))
        {
            if (work.Lead)
            {
                _journal.Lead(own: null);
            }

            while (work.Done is { } entry)
            {
                work.Done = entry.Next;
                entry.Next = null;
                entry.Completed();
            }

            if (work.Ticked)
            {
                SyncAndMark();
            }

            if (work.Spare)
            {
                PrepareSpare();
            }

            if (work.RetirementOver)
            {
                _files.Retired.Drop();
            }

            if (work.Budget && _segments.Holders() is { Count: > 0 } holders)
            {
                _options.BudgetExceeded!(holders);
            }
        }
    }

    // False when the journal closes and nothing is left to do.
    private bool TryWaitForWork(out Work work)
    {
        lock (_gate)
        {
            while (!HasWork)
            {
                if (IsClosing && !_journal.IsBusy)
                {
                    HasEnded = true;
                    work = default;
                    return false;
                }

                _isWaiting = true;
                Monitor.Wait(_gate);
                _isWaiting = false;
            }

            work = new Work
            {
                Lead = Leads,
                Done = _doneHead,
                Ticked = _ticked,
                Spare = _spareWanted,
                Budget = _budgetPassed,
                RetirementOver = _retirementOver,
            };
            Leads = false;
            _doneHead = null;
            _doneTail = null;
            _ticked = false;
            _spareWanted = false;
            _budgetPassed = false;
            _retirementOver = false;
            return true;
        }
    }

    private void SyncAndMark()
    {
        long end = _writer.End;
        if (_options.Durability == Durability.Interval && _writer.Synced < end)
        {
            _writer.SyncWritten();
        }

        bool idle = end == _endAtTick;
        _endAtTick = end;
        lock (_gate)
        {
            if (_journal.IsBusy || !idle || _writer.Failure is not null)
            {
                if (_writer.Failure is null)
                {
                    ArmTimer();
                }

                return;
            }

            _journal.IsBusy = true;
        }

        _journal.LeadMark();
    }

    private void PrepareSpare()
    {
        try
        {
            _files.PrepareSpare(_writer.NextSequence);
        }
        catch (StorageException error)
        {
            _writer.Fail(error);
        }

        lock (_gate)
        {
            _files.IsPreparing = _spareWanted;
        }
    }

    private struct Work
    {
        public bool Lead;
        public JournalEntry? Done;
        public bool Ticked;
        public bool Spare;
        public bool Budget;
        public bool RetirementOver;
    }
}
