using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>What goes wrong, and what operators ask for meanwhile. docs/testing.md describes the fault model.</summary>
internal sealed class Nemesis(RaftSimulation world)
{
    private const int WatchInterval = 3;
    private const int PlotTimeouts = 8;
    private const int OperationInterval = 160;

    private readonly Random _random = world.Random;
    private long _ambushed;
    private long _quietUntil;
    private int _cuts;

    /// <summary>Times at which a group fell silent.</summary>
    public int Silences { get; private set; }

    public void Begin()
    {
        PlanNext();
        Operate();
        if (world.Plan.HasAmbushes)
        {
            Watch();
        }
    }

    private void PlanNext() => world.Events.After(_random.Next(2 * world.Plan.FaultInterval), () =>
    {
        if (!world.IsHealed)
        {
            Act();
            PlanNext();
        }
    });

    /// <summary>The short times around an election are where terms and votes matter.</summary>
    private void Watch() => world.Events.After(WatchInterval, () =>
    {
        if (world.IsHealed)
        {
            return;
        }

        if (world.LeaderOr(world.Nodes[0]) is { Group: { Role: Role.Leader } group } leader && group.Term > _ambushed && _random.Next(4) != 0)
        {
            _ambushed = group.Term;
            world.Events.After(_random.Next(20), () => Kill(leader, 1 + _random.Next(250)));
        }

        if (world.Nodes.Any(static node => node.Group?.Role == Role.Candidate) && _random.Next(4) == 0)
        {
            Kill(world.Node(world.RandomNode()), 1 + _random.Next(3));
        }

        Watch();
    });

    private void Act()
    {
        RaftNode any = world.Node(world.RandomNode());
        RaftNode leader = world.LeaderOr(any);
        if (world.Events.Now < _quietUntil)
        {
            return;
        }

        if (world.Plan.HasPlots && _random.Next(3) == 0)
        {
            Plot(leader, any);
            return;
        }

        switch (_random.Next(14))
        {
            case 0:
                Kill(any, 5 + _random.Next(300));
                break;
            case 1:
                Kill(leader, 5 + _random.Next(300));
                break;
            case 2:
                Kill(any, 1 + _random.Next(5));
                break;
            case 3:
                foreach (RaftNode node in world.Nodes)
                {
                    Kill(node, 1 + _random.Next(50));
                }

                break;
            case 4:
                Pause(any);
                break;
            case 5 or 6:
                if (_random.Next(2) == 0)
                {
                    Split([leader.Id]);
                }

                Pause(leader);
                break;
            case 7:
                Split([.. world.Ids.Where(_ => _random.Next(2) == 0)]);
                break;
            case 8:
                Split([leader.Id]);
                break;
            case 9:
                // The leader and one other, who may hold on to each other.
                Split([leader.Id, any.Id]);
                break;
            case 10:
                world.Network.Cut(_random.Next(2) == 0 ? leader.Id : world.RandomNode(), any.Id);
                PlanHealing();
                break;
            case 11 or 12:
                Heal();
                break;
            default:
                any.Ask(static (group, now) => group.Campaign(now));
                break;
        }
    }

    /// <summary>What operators and drivers ask for, faults or not.</summary>
    private void Operate() => world.Events.After(_random.Next(OperationInterval), () =>
    {
        if (world.IsHealed)
        {
            return;
        }

        if (world.Events.Now >= _quietUntil)
        {
            RaftNode any = world.Node(world.RandomNode());
            RaftNode leader = world.LeaderOr(any);
            switch (_random.Next(8))
            {
                case 0:
                    leader.Ask((group, now) => group.Transfer(any.Id, now));
                    break;
                case 1 or 2:
                    leader.Ask((group, now) => group.Change(NextMembership(), now));
                    break;
                case 3 or 4 or 5:
                    any.Compact(_random.Next(8));
                    any.Disk.HidesSnapshot = any.Group is not null && _random.Next(8) == 0;
                    break;
                case 6:
                    leader.Ask((group, now) => Silences += group.TryQuiesce(now) ? 1 : 0);
                    break;
                default:
                    any.Ask(static (group, now) => group.Wake(now));
                    break;
            }
        }

        Operate();
    });

    /// <summary>
    /// What takes several steps to go wrong hardly ever happens by chance: these begin it, and nothing else interferes for a while.
    /// </summary>
    private void Plot(RaftNode leader, RaftNode other)
    {
        _quietUntil = world.Events.Now + (PlotTimeouts * RaftPlan.ElectionTimeout);
        Heal();
        switch (_random.Next(6))
        {
            case 0 or 1:
                HandOverAndCutOff(leader);
                break;
            case 2:
                Desert(leader, other);
                break;
            case 3 or 4:
                // Stopped until another leads and has served.
                Split([leader.Id]);
                leader.Pause();
                world.Events.After((2 * RaftPlan.ElectionTimeout) + _random.Next(300), leader.Resume);
                break;
            default:
                Contest(leader);
                break;
        }
    }

    /// <summary>A leader offers leadership and is cut off before it can see what came of it.</summary>
    private void HandOverAndCutOff(RaftNode leader)
    {
        RaftNode[] heirs = [.. world.Nodes.Where(node => node != leader && leader.Group?.Membership.IsVoter(node.Id) == true)];
        if (heirs.Length == 0)
        {
            return;
        }

        RaftNode heir = heirs[_random.Next(heirs.Length)];
        leader.Ask((group, now) => group.Transfer(heir.Id, now));
        world.Events.After(1 + _random.Next(10), () =>
        {
            if (!world.IsHealed)
            {
                Split([leader.Id]);
            }
        });
    }

    /// <summary>One follower loses its leader, and when it campaigns all others are restarted and the leader is cut off: who remembers it?</summary>
    private void Desert(RaftNode leader, RaftNode rival)
    {
        world.Network.Cut(leader.Id, rival.Id);
        When(() => rival.Group?.Role == Role.PreCandidate, 3 * RaftPlan.ElectionTimeout, () =>
        {
            Split([leader.Id]);
            foreach (RaftNode node in world.Nodes.Where(node => node != leader && node != rival))
            {
                Kill(node, 1 + _random.Next(2));
            }
        });
    }

    /// <summary>
    /// Figure 8: a leader is cut off with what it has, so is its successor as soon as it is elected, and the third as soon as it may have
    /// brought something of an old term to a majority; then the second comes back.
    /// </summary>
    private void Contest(RaftNode first)
    {
        long term = first.Group?.Term ?? 0;
        Split([first.Id]);
        When(() => LeadsAfter(term), 4 * RaftPlan.ElectionTimeout, () =>
        {
            RaftNode second = world.LeaderOr(first);
            long secondTerm = second.Group!.Term;
            Heal();
            Split([second.Id]);
            When(() => LeadsAfter(secondTerm), 4 * RaftPlan.ElectionTimeout, () =>
            {
                RaftNode third = world.LeaderOr(first);
                world.Events.After(4 + _random.Next(16), () =>
                {
                    if (!world.IsHealed)
                    {
                        Heal();
                        Split([third.Id]);
                    }
                });
            });
        });
    }

    private bool LeadsAfter(long term) => world.LeaderOr(world.Nodes[0]).Group is { Role: Role.Leader } group && group.Term > term;

    private void When(Func<bool> condition, long patience, Action then)
    {
        if (world.IsHealed)
        {
            return;
        }

        if (condition())
        {
            then();
        }
        else if (patience > 0)
        {
            world.Events.After(1, () => When(condition, patience - 1, then));
        }
    }

    /// <summary>Any nodes, though mostly a few more than one, so that a change may leave none of the old majority.</summary>
    private Membership NextMembership()
    {
        long[] shuffled = [.. world.Ids];
        _random.Shuffle(shuffled);
        int voters = Math.Min(shuffled.Length, 1 + _random.Next(2) + _random.Next(4));
        int learners = Math.Min(shuffled.Length - voters, _random.Next(2));
        return new Membership(shuffled[..voters], shuffled[voters..(voters + learners)]);
    }

    private void Split(long[] side)
    {
        world.Network.Split(side, world.Ids);
        PlanHealing();
    }

    private void Heal()
    {
        _cuts++;
        world.Network.Heal();
    }

    /// <summary>Links come back after a while, unless others were cut meanwhile.</summary>
    private void PlanHealing()
    {
        int cuts = ++_cuts;
        world.Events.After(50 + _random.Next(500), () =>
        {
            if (cuts == _cuts)
            {
                Heal();
            }
        });
    }

    private void Kill(RaftNode node, int downFor)
    {
        node.Crash();
        world.Events.After(downFor, node.Start);
    }

    private void Pause(RaftNode node)
    {
        node.Pause();
        world.Events.After(10 + _random.Next(500), node.Resume);
    }
}
