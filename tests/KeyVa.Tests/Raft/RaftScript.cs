using System.Globalization;
using System.Text;
using KeyVa.Raft;
using KeyVa.Simulation.Raft;

namespace KeyVa.Tests.Raft;

/// <summary>
/// Runs a script over a few real groups and writes down what each step brings: what is sent, who becomes what, what is applied. A script
/// is a text: lines that begin with <c>&gt; </c> are steps, what a step brought stands behind it, indented; the rest is for the
/// reader. Steps: <c>nodes 1 2 3 [blank 4]</c>, <c>campaign N</c>, <c>propose N text</c>, <c>change N voters … [learners …]</c>, <c>transfer N to</c>,
/// <c>read N contexts</c>, <c>wait time</c> (nobody ticks), <c>tick N</c>, <c>deliver</c> (what is under way now), <c>settle</c> (until nothing is under
/// way), <c>drop [from to]</c>, <c>cut N</c> and <c>heal</c>, <c>hold N</c> and <c>persist N</c> (the disk), <c>crash N</c>, <c>restart N</c>, <c>compact N</c>, <c>quiesce N</c>,
/// <c>status</c>.
/// </summary>
internal sealed class RaftScript
{
    private const string Step = "> ";
    private const int MostRounds = 100;

    private readonly SortedDictionary<long, TestNode> _nodes = [];
    private readonly Dictionary<long, RaftDisk> _down = [];
    private readonly HashSet<long> _cut = [];
    private readonly Dictionary<long, (Role Role, Membership Membership)> _told = [];
    private readonly StringBuilder _text = new();
    private List<Message> _underWay = [];
    private long _now;

    /// <summary>The script with what its steps bring now.</summary>
    public static string Run(string script)
    {
        RaftScript run = new();
        foreach (string line in script.TrimEnd('\n').Split('\n'))
        {
            if (line.StartsWith(Step, StringComparison.Ordinal))
            {
                run._text.Append(line).Append('\n');
                run.Do(line[Step.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries));
            }
            else if (!line.StartsWith("  ", StringComparison.Ordinal))
            {
                run._text.Append(line).Append('\n');
            }
        }

        return run._text.ToString();
    }

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);

    private void Do(string[] step)
    {
        TestNode? node = step.Length > 1 && step[0] is not ("nodes" or "wait" or "drop" or "restart" or "cut") ? _nodes[Number(step[1])] : null;
        switch (step[0])
        {
            case "nodes":
                Create(step[1..]);
                break;
            case "campaign":
                Note(node!, node!.Group.Campaign(_now));
                break;
            case "propose":
                Proposed proposed = node!.Group.Propose(TestNode.Bytes(step[2]), _now);
                Note(node, proposed.Refusal);
                break;
            case "change":
                Note(node!, node!.Group.Change(Parse(step[2..]), _now).Refusal);
                break;
            case "transfer":
                Note(node!, node!.Group.Transfer(Number(step[2]), _now));
                break;
            case "read":
                foreach (string context in step[2..])
                {
                    Note(node!, node!.Group.Read(Number(context), _now));
                }

                break;
            case "quiesce":
                Line($"{node!.Group.Id} {(node.Group.TryQuiesce(_now) ? "falls silent" : "has more to say")}");
                break;
            case "wait":
                _now += Number(step[1]);
                break;
            case "tick":
                node!.Group.Tick(_now);
                break;
            case "deliver":
                Deliver();
                break;
            case "settle":
                for (int i = 0; _underWay.Count > 0; i++)
                {
                    Xunit.Assert.True(i < MostRounds, $"it does not settle:\n{_text}");
                    Deliver();
                }

                break;
            case "drop":
                _underWay.RemoveAll(message => step.Length < 3 || (message.From == Number(step[1]) && message.To == Number(step[2])));
                break;
            case "cut":
                _cut.Add(Number(step[1]));
                break;
            case "heal":
                _cut.Clear();
                break;
            case "hold":
                node!.HoldsDisk = true;
                break;
            case "persist":
                node!.HoldsDisk = false;
                node.Persist();
                break;
            case "crash":
                node!.Disk.Crash(0);
                _down.Add(node.Group.Id, node.Disk);
                _nodes.Remove(node.Group.Id);
                break;
            case "restart":
                long id = Number(step[1]);
                Start(id, _down[id]);
                _down.Remove(id);
                break;
            case "compact":
                long applied = node!.Group.AppliedIndex;
                node.Disk.SaveSnapshot(new SnapshotMetadata(applied, node.Disk.TermAt(applied), node.Group.MembershipAt(applied)), [], 0);
                break;
            case "status":
                foreach (TestNode one in _nodes.Values)
                {
                    Line($"{one.Group.Id}: {one.Group.Role} in term {one.Group.Term}, log to {Text(one.Group.Last)}, commit {one.Group.CommitIndex}, {one.Group.Membership}");
                }

                break;
            default:
                throw new ArgumentException($"no step '{string.Join(' ', step)}'");
        }

        foreach (TestNode one in _nodes.Values)
        {
            Look(one);
        }
    }

    private void Create(string[] ids)
    {
        int blank = Array.IndexOf(ids, "blank");
        long[] members = [.. ids[..(blank < 0 ? ids.Length : blank)].Select(Number)];
        foreach (long id in members)
        {
            Start(id, new RaftDisk(SnapshotMetadata.Initial(new Membership(members)), []));
        }

        foreach (string id in blank < 0 ? [] : ids[(blank + 1)..])
        {
            Start(Number(id), new RaftDisk(SnapshotMetadata.None, []));
        }
    }

    private void Start(long id, RaftDisk disk)
    {
        TestNode node = new(id, disk, static options => options with { MaxAppendBytes = 200 }, _now);
        _nodes.Add(id, node);
        _told[id] = (Role.Follower, node.Group.Membership);
    }

    private static Membership Parse(string[] step)
    {
        int learners = Array.IndexOf(step, "learners");
        return new Membership(
            step[1..(learners < 0 ? step.Length : learners)].Select(Number),
            learners < 0 ? [] : step[(learners + 1)..].Select(Number));
    }

    private void Deliver()
    {
        List<Message> messages = _underWay;
        _underWay = [];
        foreach (Message message in messages)
        {
            if (_nodes.TryGetValue(message.To, out TestNode? node) && !_cut.Contains(message.To) && !_cut.Contains(message.From))
            {
                node.Group.Step(message, _now);
                Look(node);
            }
        }
    }

    /// <summary>Writes down what became of a node, and takes what it sends.</summary>
    private void Look(TestNode node)
    {
        node.Now = _now;
        int applied = node.Applied.Count;
        node.Settle();
        RaftGroup group = node.Group;
        (Role role, Membership membership) = _told[group.Id];
        if (group.Role != role)
        {
            Line($"{group.Id} {(group.Role == Role.Leader ? $"leads in term {group.Term}" : $"is a {group.Role.ToString().ToLowerInvariant()} in term {group.Term}")}");
        }

        if (!group.Membership.Equals(membership))
        {
            Line($"{group.Id} has {group.Membership}");
        }

        _told[group.Id] = (group.Role, group.Membership);
        foreach (Entry entry in node.Applied.Skip(applied))
        {
            Line($"{group.Id} applies {Text(entry)}");
        }

        foreach (ConfirmedRead read in node.Reads)
        {
            Line(read.Refusal == Refusal.None ? $"{group.Id} may answer read {read.Context} at {read.Index}" : $"{group.Id} may not answer read {read.Context}");
        }

        node.Reads.Clear();
        foreach (Message message in node.TakeSent())
        {
            Line($"{message.From} -> {message.To} {Text(message)}");
            _underWay.Add(message);
        }
    }

    private void Note(TestNode node, Refusal refusal)
    {
        if (refusal != Refusal.None)
        {
            Line($"{node.Group.Id} refuses: {refusal}");
        }
    }

    private void Line(string text) => _text.Append("  ").Append(text).Append('\n');

    private static string Text(LogPosition position) => $"{position.Index}@{position.Term}";

    private static string Text(in Entry entry) => $"{Text(entry.Position)} " + entry.Kind switch
    {
        EntryKind.Empty => "empty",
        EntryKind.Membership => MembershipEncoding.TryDecode(entry.Data.Span, out Membership membership) ? $"({membership})" : "?",
        _ => Encoding.UTF8.GetString(entry.Data.Span),
    };

    private static string Text(in Message message)
    {
        string what = message.Kind switch
        {
            MessageKind.PreVote or MessageKind.Vote => $", log to {message.Index}@{message.LogTerm}{(message.Force ? ", sent by the leader" : "")}",
            MessageKind.PreVoteReply or MessageKind.VoteReply => message.Reject ? ": no" : ": yes",
            MessageKind.Append => $", behind {message.Index}@{message.LogTerm}, commit {message.Commit}"
                + (message.Entries.IsEmpty ? "" : $": {string.Join(", ", message.Entries.ToArray().Select(static entry => Text(entry)))}"),
            MessageKind.AppendReply => message.Reject ? $": not behind {message.Index}, perhaps {message.HintIndex}@{message.HintTerm}" : $": to {message.Index}",
            MessageKind.Heartbeat => $", round {message.Context}, commit {message.Commit}{(message.Quiesce ? ", the last for now" : "")}",
            MessageKind.HeartbeatReply => $", round {message.Context}",
            MessageKind.InstallSnapshot => $": {Text(message.Snapshot!.Position)}, {message.Snapshot.Membership}",
            MessageKind.Read => $" {message.Context}",
            MessageKind.ReadReply => message.Reject ? $" {message.Context}: no" : $" {message.Context}: at {message.Index}",
            _ => "",
        };
        return $"{message.Kind} in term {message.Term}{what}";
    }
}
