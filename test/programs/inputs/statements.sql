-- SPDX-License-Identifier: Apache-2.0
-- Run on a file: write-ahead log, indexes, joins, window functions, a transaction rolled back.
pragma journal_mode = wal;
create table item(id integer primary key, name text, price real);
create table sale(item integer references item(id), day integer, number integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
  insert into item select i, 'item ' || i, i * 1.25 from n;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
  insert into sale select 1 + i % 500, i % 365, i % 11 from n;
create index sale_day on sale(day, item);
begin;
delete from sale where number > 5;
select 'inside', count(*) from sale;
rollback;
select 'outside', count(*) from sale;
select name, sum(number * price) as total from sale join item on item.id = sale.item group by item.id order by total desc, name limit 5;
select day, sum(number) over (order by day rows between 2 preceding and current row) from (select day, sum(number) as number from sale group by day) limit 5;
explain query plan select * from sale where day = 7 and item = 3;
vacuum;
pragma integrity_check;
.dump item
