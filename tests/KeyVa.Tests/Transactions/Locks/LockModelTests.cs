using System.Diagnostics.CodeAnalysis;
using KeyVa.Transactions.Locks;
using Xunit;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>Random operations of several owners on the table and on the model, compared after each one.</summary>
[SuppressMessage("Security", "CA5394", Justification = "Seeded randomness of a test.")]
public sealed class LockModelTests
{
    private const int Owners = 7;
    private const int Keys = 6;
    private const int Steps = 400;

    [Theory]
    [InlineData(1)]
    [InlineData(8)]
    public void TheTableDoesWhatTheModelDoes(int stripes)
    {
        int first = Environment.TickCount;
        for (int seed = first; seed < first + 40; seed++)
        {
            new Run(seed, stripes).Play();
        }
    }

    private sealed class Run
    {
        private readonly int _seed;
        private readonly Random _random;
        private readonly LockFixture _locks;
        private LockModel _model = new(Owners);
        private readonly LockOwner[] _owners;
        private readonly Waiter?[] _waiters = new Waiter?[Owners];
        private readonly (LockMark Mark, long Model)[] _marks = new (LockMark, long)[Owners];
        private string _step = "";

        public Run(int seed, int stripes)
        {
            _seed = seed;
            _random = new Random(seed);
            _locks = new LockFixture(new LockLimits { Stripes = stripes });
            _owners = [.. Enumerable.Range(0, Owners).Select(i => new PricedOwner(i, _random.Next(3)))];
        }

        public void Play()
        {
            for (int i = 0; i < Steps; i++)
            {
                Step(_random.Next(Owners));
                Compare();
            }

            for (int owner = 0; owner < Owners; owner++)
            {
                Abort(owner);
                Compare();
            }

            for (int owner = 0; owner < Owners; owner++)
            {
                Release(owner, default, 0);
                Compare();
            }

            Check(!_locks.Table.HasLocks && _locks.Table.Describe(100).Count == 0, "nothing is left");
            _locks.Dispose();
        }

        private void Step(int owner)
        {
            if (_model.IsWaiting(owner))
            {
                if (_random.Next(12) == 0)
                {
                    Abort(owner);
                }

                return;
            }

            switch (_random.Next(20))
            {
                case 0 or 1:
                    Release(owner, default, 0);
                    break;
                case 2:
                    Release(owner, _marks[owner].Mark, _marks[owner].Model);
                    break;
                case 3:
                    _marks[owner] = (_owners[owner].Mark, _model.Mark(owner));
                    break;
                case < 8:
                    int from = _random.Next(Keys);
                    Ask(owner, isRange: true, from, _random.Next(from + 1, Keys + 1));
                    break;
                default:
                    int key = _random.Next(Keys);
                    Ask(owner, isRange: false, key, key + 1);
                    break;
            }
        }

        private void Ask(int owner, bool isRange, int from, int to)
        {
            LockMode mode = _random.Next(2) == 0 ? LockMode.Shared : LockMode.Exclusive;
            bool waits = _random.Next(5) > 0;
            TimeSpan timeout = waits ? LockFixture.Forever : TimeSpan.Zero;
            _step = $"owner {owner} asks for {(isRange ? "range" : "key")} [{from}, {to}) {mode}{(waits ? "" : " at once")}";
            LockOutcome? expected = _model.Acquire(owner, isRange, from, to, mode, waits);
            Waiter waiter = isRange
                ? _locks.AskRange(_owners[owner], Bound(from), Bound(to), mode, timeout)
                : _locks.Ask(_owners[owner], $"key{from}", mode, timeout);
            if (expected is { } outcome)
            {
                Check(waiter.IsOver && waiter.Outcome == outcome, $"it ends with {outcome}");
            }
            else
            {
                _waiters[owner] = waiter;
                EndVictims();
            }
        }

        // What the table ended to break cycles must each have been the cheapest of one, in some order, and then none is left.
        private void EndVictims()
        {
            int[] victims = [.. Enumerable.Range(0, Owners).Where(o => _waiters[o] is { IsOver: true } w && w.Outcome == LockOutcome.Deadlock)];
            LockModel? after = End(_model, victims);
            Check(after is not null, $"{string.Join(", ", victims)} were the cheapest of all cycles");
            _model = after!;
            foreach (int victim in victims)
            {
                _waiters[victim] = null;
            }
        }

        private LockModel? End(LockModel model, int[] victims)
        {
            if (victims.Length == 0)
            {
                return Enumerable.Range(0, Owners).Any(o => model.IsInCycle(o, static _ => true)) ? null : model;
            }

            foreach (int victim in victims.Where(v => model.IsInCycle(v, other => IsDearer(other, v))))
            {
                LockModel next = model.Copy();
                next.EndWait(victim);
                next.Settle();
                if (End(next, [.. victims.Where(v => v != victim)]) is { } after)
                {
                    return after;
                }
            }

            return null;
        }

        private bool IsDearer(int other, int victim) =>
            (_owners[other].Cost, -other).CompareTo((_owners[victim].Cost, -victim)) > 0;

        private void Release(int owner, LockMark mark, long modelMark)
        {
            _step = $"owner {owner} releases to {modelMark}";
            _model.ReleaseTo(owner, modelMark);
            _model.Settle();
            if (modelMark == 0)
            {
                _locks.Table.ReleaseAll(_owners[owner]);
                if (_owners[owner].IsAborted)
                {
                    _owners[owner].Renew(owner);
                    _model.Renew(owner);
                }

                _marks[owner] = default;
            }
            else
            {
                _locks.Table.ReleaseTo(_owners[owner], mark);
            }
        }

        private void Abort(int owner)
        {
            _step = $"owner {owner} is aborted";
            _model.Abort(owner);
            _locks.Table.Abort(_owners[owner], "a test");
            if (_model.IsWaiting(owner))
            {
                _model.EndWait(owner);
                _model.Settle();
                Check(_waiters[owner] is { IsOver: true } waiter && waiter.Outcome == LockOutcome.Aborted, "its wait ends");
                _waiters[owner] = null;
            }
        }

        private void Compare()
        {
            for (int owner = 0; owner < Owners; owner++)
            {
                bool waits = _model.IsWaiting(owner);
                if (_waiters[owner] is { } waiter)
                {
                    Check(waiter.IsOver != waits, $"owner {owner} waits: {waits}");
                    if (!waits)
                    {
                        Check(waiter.Result.IsGranted, $"owner {owner} has got its lock");
                        _waiters[owner] = null;
                    }
                }

                Check(_owners[owner].Held == _model.HeldBy(owner), $"owner {owner} holds {_model.HeldBy(owner)} locks");
            }

            Check(_locks.Table.Figures.Waiting == _model.Locks.Count(static l => l.Wanted != 0), "as many wait");
            Check(_locks.Table.Figures.Held == _model.Locks.Count(static l => l.Held != 0), "as many are held");
            Check(_locks.Table.HasLocks == _model.Locks.Count > 0, "there are locks or there are none");
        }

        private void Check(bool holds, string what) =>
            Assert.True(holds, $"seed {_seed}, after '{_step}': {what}; the model has {string.Join("; ", _model.Locks)}");

        // The ends are open in every other run, which holds the same of these keys.
        private string Bound(int position) => _seed % 2 == 0 && position is (0 or Keys) ? "" : $"key{position}";
    }
}
