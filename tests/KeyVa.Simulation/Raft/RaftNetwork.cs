using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>A network that loses, doubles, delays and so reorders messages, and whose links are cut in one direction each, with what is under way on them.</summary>
internal sealed class RaftNetwork(EventQueue events, Random random, RaftPlan plan, Func<long, RaftNode> nodes)
{
    private const int MostSlowDelay = 250;

    private readonly HashSet<(long From, long To)> _cut = [];

    public bool IsGood { get; set; }

    public void Cut(long from, long to) => _cut.Add((from, to));

    public void Heal() => _cut.Clear();

    /// <summary>Cuts two groups of nodes from each other.</summary>
    public void Split(IReadOnlyCollection<long> side, IEnumerable<long> all)
    {
        foreach (long other in all.Where(node => !side.Contains(node)))
        {
            foreach (long one in side)
            {
                Cut(one, other);
                Cut(other, one);
            }
        }
    }

    /// <summary>Sends a message, with the state that belongs to it if it is a snapshot. Whether it will arrive, as a stream's sender would learn.</summary>
    public bool Send(in Message message, byte[]? state)
    {
        if (_cut.Contains((message.From, message.To)) || Happens(plan.Loss))
        {
            return false;
        }

        Deliver(message, state);
        if (Happens(plan.Duplication))
        {
            Deliver(message, state);
        }

        return true;
    }

    private bool Happens(double share) => !IsGood && share > 0 && random.NextDouble() < share;

    private void Deliver(Message message, byte[]? state)
    {
        int delay = 1 + random.Next(Happens(plan.Slow) ? MostSlowDelay : IsGood ? 4 : plan.Delay);
        events.After(delay, () =>
        {
            if (!_cut.Contains((message.From, message.To)))
            {
                nodes(message.To).Receive(message, state);
            }
        });
    }
}
